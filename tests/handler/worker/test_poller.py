"""The poller's own part, with SQS as moto has it and a worker that answers as it is told to."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import boto3
import pytest

from handler.errors import GenerationFailed, QueueUnavailable, QueueUnusable, SettingsError
from handler.worker.poller import Context, Poller
from handler.worker.queue import Queue, connect
from tests.handler.worker.conftest import KEYS

Answer = Callable[[list[dict[str, Any]], Context], set[str]]


class Log:
    """Keeps what is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[object, dict[str, Any]]] = []

    def info(self, msg: object, *, extra: dict[str, Any]) -> None:
        self.lines.append((msg, extra))

    warning = info

    def named(self, name: str) -> list[dict[str, Any]]:
        return [extra for message, extra in self.lines if message == name]


class Scripted:
    """A worker that fails the messages that a function names, and ends its poller when there were enough batches."""

    def __init__(self, answer: Answer, batches: int = 1) -> None:
        self._answer = answer
        self._left = batches
        self.events: list[list[dict[str, Any]]] = []
        self.poller: Poller | None = None

    def handle(self, event: Any, context: Context) -> Any:
        self.events.append(event["Records"])
        self._left -= 1
        if not self._left:
            assert self.poller is not None
            self.poller.stop()
        failed = self._answer(event["Records"], context)
        return {"batchItemFailures": [{"itemIdentifier": id} for id in failed]}


@pytest.fixture
def sqs(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in {**KEYS, "AWS_ENDPOINT_URL_SQS": s3_url}.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("sqs", region_name="us-east-1")
    yield client
    for url in client.list_queues().get("QueueUrls", []):
        client.delete_queue(QueueUrl=url)
    client.close()


@pytest.fixture
def url(sqs: Any) -> str:
    made: str = sqs.create_queue(QueueName="jobs")["QueueUrl"]
    return made


def poll(url: str, answer: Answer, batches: int = 1, visibility_s: int = 60, batch: int = 10) -> tuple[Scripted, Log]:
    """Poll until so many batches were answered."""
    worker, log = Scripted(answer, batches), Log()
    queue = connect(url, "us-east-1", visibility_s, 1)
    worker.poller = Poller(worker, queue, batch, 30, 1, visibility_s, log)
    worker.poller.run()
    return worker, log


def left(sqs: Any, url: str) -> tuple[int, int]:
    """Messages that wait, and messages that are hidden."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return int(found[names[0]]), int(found[names[1]])


def nothing_fails(records: list[dict[str, Any]], context: Context) -> set[str]:
    return set()


def test_a_message_arrives_as_lambda_writes_it_and_is_deleted_when_it_is_done(sqs: Any, url: str) -> None:
    attributes = {
        "idempotency_key": {"DataType": "String", "StringValue": "k1"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\0\1"},
    }
    sent = sqs.send_message(QueueUrl=url, MessageBody='{"prompt": "hi"}', MessageAttributes=attributes)
    worker, log = poll(url, nothing_fails)
    [[record]] = worker.events
    assert (record["messageId"], record["body"]) == (sent["MessageId"], '{"prompt": "hi"}')
    assert (record["eventSource"], record["eventSourceARN"]) == ("aws:sqs", "arn:aws:sqs:us-east-1:123456789012:jobs")
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["messageAttributes"]["idempotency_key"]["stringValue"] == "k1"
    assert base64.b64decode(record["messageAttributes"]["raw"]["binaryValue"]) == b"\0\1"
    assert json.dumps(record)
    assert left(sqs, url) == (0, 0)
    assert log.named("batch")[0] | {"request_id": ""} == {"request_id": "", "received": 1, "failed": 0, "deleted": 1}


def test_only_what_failed_stays_in_the_queue(sqs: Any, url: str) -> None:
    for body in "abc":
        sqs.send_message(QueueUrl=url, MessageBody=body)
    poll(url, lambda records, _: {record["messageId"] for record in records if record["body"] == "b"})
    assert left(sqs, url) == (0, 1)


def test_what_failed_comes_again_and_ends_in_the_dead_letter_queue(sqs: Any, url: str) -> None:
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})
    sqs.send_message(QueueUrl=url, MessageBody="poison")
    worker, _ = poll(url, lambda records, _: {record["messageId"] for record in records}, batches=2, visibility_s=1)
    counts = [records[0]["attributes"]["ApproximateReceiveCount"] for records in worker.events]
    assert counts == ["1", "2"]
    queue = connect(url, "us-east-1", 1, 1)
    while left(sqs, url) != (0, 0):
        assert queue.receive(10, 1) == []
    assert left(sqs, dead) == (1, 0)


def test_a_batch_that_fails_as_a_whole_stays_as_a_whole(sqs: Any, url: str) -> None:
    for body in "ab":
        sqs.send_message(QueueUrl=url, MessageBody=body)

    def fail(records: list[dict[str, Any]], _: Context) -> set[str]:
        raise GenerationFailed()

    _, log = poll(url, fail)
    assert left(sqs, url) == (0, 2)
    assert log.named("batch")[0]["failed"] == 2


def test_messages_stay_hidden_while_they_are_worked_on(sqs: Any, url: str) -> None:
    sqs.send_message(QueueUrl=url, MessageBody="long")
    other = connect(url, "us-east-1", 1, 1)

    def slow(records: list[dict[str, Any]], _: Context) -> set[str]:
        for _attempt in range(4):  # each waits for a second: longer than the message would be hidden
            assert other.receive(10, 1) == []
        return set()

    poll(url, slow, visibility_s=2)
    assert left(sqs, url) == (0, 0)


def test_the_context_has_the_batchs_time(url: str, sqs: Any) -> None:
    sqs.send_message(QueueUrl=url, MessageBody="a")
    seen: list[int] = []

    def look(_: list[dict[str, Any]], context: Context) -> set[str]:
        seen.append(context.get_remaining_time_in_millis())
        return set()

    poll(url, look)
    assert 0 < seen[0] <= 30_000
    assert Context(0.0).get_remaining_time_in_millis() == 0


def test_a_batch_has_no_more_messages_than_are_asked_for(sqs: Any, url: str) -> None:
    for body in "abc":
        sqs.send_message(QueueUrl=url, MessageBody=body)
    worker, _ = poll(url, nothing_fails, batch=2)
    assert len(worker.events[0]) <= 2


class Broken:
    """A queue that throws before it has messages, and stops its poller with the last of them."""

    def __init__(self, errors: int, records: list[Mapping[str, Any]]) -> None:
        self.arn = "arn"
        self._errors = errors
        self._records = records
        self.given_back: list[Mapping[str, Any]] = []
        self.poller: Poller | None = None

    def receive(self, count: int, wait_s: int) -> list[Mapping[str, Any]]:
        if self._errors:
            self._errors -= 1
            raise QueueUnavailable("receive_message: Throttling")
        assert self.poller is not None
        self.poller.stop()
        return self._records

    def give_back(self, records: list[Mapping[str, Any]]) -> None:
        self.given_back += records


def broken(errors: int, records: list[Mapping[str, Any]]) -> tuple[Broken, Poller, Log]:
    log = Log()
    queue: Any = Broken(errors, records)
    queue.poller = Poller(Scripted(nothing_fails), queue, 10, 30, 1, 60, log)
    return queue, queue.poller, log


def test_throttles_are_told_and_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.worker.poller.RETRY_S", 0.01)
    _, poller, log = broken(3, [])
    poller.run()
    assert [line["delay_s"] for line in log.named("queue_error")] == [0.01, 0.02, 0.04]


def test_what_arrives_after_the_signal_is_given_back() -> None:
    queue, poller, _ = broken(0, [{"messageId": "late"}])
    poller.run()
    assert queue.given_back == [{"messageId": "late"}]


def test_a_signal_doesnt_wait_for_a_pause_between_attempts() -> None:
    _, poller, log = broken(1_000_000, [])
    thread = threading.Thread(target=poller.run, daemon=True)
    thread.start()
    while not log.lines:
        assert thread.is_alive()
    poller.stop()
    thread.join(30)
    assert not thread.is_alive()


def test_a_receipt_that_sqs_refuses_is_an_error_of_the_queue(sqs: Any, url: str) -> None:
    queue = connect(url, "us-east-1", 60, 1)
    with pytest.raises(QueueUnavailable, match="1 of 1 refused"):
        queue.delete([{"receiptHandle": "nonsense"}])


def test_a_queue_that_isnt_there_is_named(sqs: Any, url: str) -> None:
    with pytest.raises(QueueUnusable, match=r"jobs-2.*sqs:ReceiveMessage"):
        connect(f"{url}-2", "us-east-1", 60, 1)


def test_a_region_is_needed() -> None:
    with pytest.raises(SettingsError, match="AWS_REGION"):
        connect("https://sqs.eu-central-1.amazonaws.com/1/jobs", None, 60, 1)


def test_no_call_is_made_for_nothing() -> None:
    class Silent:
        def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
            return {"Attributes": {"QueueArn": "arn:aws:sqs:us-east-1:1:jobs"}}

    client: Any = Silent()
    Queue("https://x/y", client, 60).delete([])
