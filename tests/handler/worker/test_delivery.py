"""Each result once: whatever dies, comes again, or happens at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from handler.errors import ResultsUnavailable
from handler.settings import Settings
from handler.worker.delivery import Delivered
from handler.worker.destinations import Destination, connect_destinations
from handler.worker.results import Bucket, connect
from handler.worker.worker import Worker
from tests.conftest import ROOT
from tests.handler.doubles import TEMPLATE, ScriptedEngine, byte_model
from tests.handler.worker.conftest import BUCKET
from tests.handler.worker.messages import batch, failed, message
from tests.handler.worker.test_destinations import new_bus, new_queue, received, sqs
from tests.handler.worker.test_worker import context, telemetry

__all__ = ["sqs"]  # a fixture
RESULT = {"text": "hello", "timings": {}}


class Line:
    """A destination that notes what it gets, and may refuse it."""

    def __init__(self, name: str = "sqs") -> None:
        self.name = name
        self.sent: list[tuple[str, Any]] = []
        self.refuses = False

    def send(self, key: str, message: bytes) -> None:
        if self.refuses:
            raise ResultsUnavailable(f"sending {key}", "refused")
        self.sent.append((key, json.loads(message)))


@pytest.fixture
def bucket(s3: Any) -> Bucket:
    return connect(BUCKET, "us-east-1")


def delivered(bucket: Bucket, *destinations: Destination, patience_s: float = 0.0) -> Delivered:
    return Delivered(bucket, destinations, patience_s)


def test_a_result_is_kept_and_sent(bucket: Bucket) -> None:
    queue, bus = Line("sqs"), Line("events")
    assert delivered(bucket, queue, bus).keep("a", RESULT)
    assert bucket.read("a") == RESULT
    assert queue.sent == bus.sent == [("a", {"idempotency_key": "a", **RESULT})]


def test_one_that_was_sent_is_not_sent_again(bucket: Bucket) -> None:
    queue = Line()
    results = delivered(bucket, queue)
    results.keep("a", RESULT)
    assert results.has("a")
    assert results.read("a") == RESULT
    assert not results.keep("a", {"text": "another"})
    assert len(queue.sent) == 1


def test_nothing_is_sent_of_what_is_not_there(bucket: Bucket) -> None:
    queue = Line()
    results = delivered(bucket, queue)
    assert (results.has("a"), results.read("a"), queue.sent) == (False, None, [])


@pytest.mark.parametrize("again", ["has", "read", "keep"])
def test_one_that_was_only_kept_is_sent_as_it_was_kept(bucket: Bucket, again: str) -> None:
    bucket.keep("a", RESULT)
    queue = Line()
    results = delivered(bucket, queue)
    if again == "keep":
        assert not results.keep("a", {"text": "another"})
    else:
        assert getattr(results, again)("a")
    assert queue.sent == [("a", {"idempotency_key": "a", **RESULT})]
    assert bucket.is_sent("a", "sqs")


def test_what_one_destination_refused_goes_to_that_one_alone(bucket: Bucket) -> None:
    queue, bus = Line("sqs"), Line("events")
    bus.refuses = True
    results = delivered(bucket, queue, bus)
    with pytest.raises(ResultsUnavailable, match="refused"):
        results.keep("a", RESULT)
    bus.refuses = False
    assert results.has("a")
    assert (len(queue.sent), len(bus.sent)) == (1, 1)


def test_what_was_kept_just_now_is_left_to_whoever_kept_it(bucket: Bucket) -> None:
    bucket.keep("a", RESULT)
    queue = Line()
    with pytest.raises(ResultsUnavailable, match="another process has kept it"):
        delivered(bucket, queue, patience_s=3600).has("a")
    assert queue.sent == []


def test_of_many_at_the_same_time_one_sends(bucket: Bucket) -> None:
    queue = Line()
    results = delivered(bucket, queue, patience_s=3600)
    come_again: list[ResultsUnavailable] = []

    def keep() -> None:
        try:
            results.keep("a", RESULT)
        except ResultsUnavailable as error:
            come_again.append(error)

    threads = [threading.Thread(target=keep) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(queue.sent) == 1
    assert results.has("a")


def test_a_large_result_is_named_where_it_is_kept(bucket: Bucket) -> None:
    queue = Line()
    delivered(bucket, queue).keep("a", {"text": "x" * 300_000})
    at = {"bucket": BUCKET, "key": "results/a.json"}
    assert queue.sent == [("a", {"idempotency_key": "a", "result_at": at})]


DIES = """
import os, signal, sys
from pathlib import Path
from handler.settings import Settings
from handler.worker import results
from handler.worker.delivery import Delivered
from handler.worker.destinations import connect_destinations

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

bucket_name, url, when = sys.argv[1:]
bucket = results.connect(bucket_name, "us-east-1")
made = connect_destinations(Settings(Path("/m"), region="us-east-1", results_queue_url=url))
if when == "before sending":
    made[0].send = die
else:
    bucket.mark_sent = die
Delivered(bucket, made).keep("a", {"text": "hello", "timings": {}})
"""


def killed(url: str, when: str) -> None:
    command = [sys.executable, "-c", DIES, BUCKET, url, when]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -9


def queue_of(url: str) -> Sequence[Destination]:
    return connect_destinations(Settings(Path("/m"), region="us-east-1", results_queue_url=url))


@pytest.mark.parametrize(
    ("when", "fifo", "times"),
    [("before sending", False, 1), ("before marking", False, 2), ("before marking", True, 1)],
)
def test_a_process_that_is_killed_loses_nothing(bucket: Bucket, sqs: Any, when: str, fifo: bool, times: int) -> None:
    url = new_queue(sqs, fifo)
    killed(url, when)
    assert delivered(bucket, *queue_of(url)).has("a")
    messages = received(sqs, url)
    assert [message["MessageAttributes"]["idempotency_key"]["StringValue"] for message in messages] == ["a"] * times
    assert all(json.loads(message["Body"])["text"] == "hello" for message in messages)


def test_a_worker_sends_each_answer_to_all_destinations_once(bucket: Bucket, sqs: Any) -> None:
    queue, events = new_queue(sqs), new_queue(sqs)
    names: dict[str, Any] = {"results_queue_url": queue, "results_bus": new_bus(sqs, events)}
    made = connect_destinations(Settings(Path("/m"), region="us-east-1", **names))
    worker = Worker(byte_model(ScriptedEngine(), 200, TEMPLATE), Delivered(bucket, made), telemetry(), margin_s=0)
    for _ in range(2):  # delivered twice
        assert failed(worker.handle(batch(message("m-1"), message("m-2")), context())) == []
    sent = [json.loads(one["Body"]) for one in received(sqs, queue)]
    put = [json.loads(one["Body"])["detail"] for one in received(sqs, events)]
    assert sorted(one["idempotency_key"] for one in sent) == ["m-1", "m-2"]
    assert sorted(one["idempotency_key"] for one in put) == ["m-1", "m-2"]
    assert [one["text"] for one in sent + put] == ["hello world"] * 4


def test_a_message_whose_result_cannot_be_sent_fails_alone(bucket: Bucket) -> None:
    class Picky(Line):
        def send(self, key: str, message: bytes) -> None:
            self.refuses = key == "m-1"
            super().send(key, message)

    queue = Picky()
    worker = Worker(byte_model(ScriptedEngine(), 200, TEMPLATE), delivered(bucket, queue), telemetry(), margin_s=0)
    assert failed(worker.handle(batch(message("m-1"), message("m-2")), context())) == ["m-1"]
    assert [key for key, _ in queue.sent] == ["m-2"]
