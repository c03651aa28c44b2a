"""A queue of moto's, polled for a function under awslambdaric."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.image.local.batches import attempts, finished, journal
from tests.image.local.conftest import Aws
from tests.image.local.lambda_process import FUNCTIONS, LocalLambda, local_lambda, wait_until

Polling = Callable[..., AbstractContextManager[LocalLambda]]
HIDDEN_S = 2


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def polling(aws: Aws, notes: Path) -> Polling:
    def run(queue: str, *arguments: str) -> AbstractContextManager[LocalLambda]:
        given = ("--command", FUNCTIONS, "--env", f"JOURNAL={notes}", "--queue", queue, *arguments)
        return local_lambda(*given, **aws.environ)

    return run


def batches(running: LocalLambda) -> list[dict[str, Any]]:
    return [json.loads(line) for line in running.lines if line.startswith('{"event": "batch",')]


def reasons(running: LocalLambda) -> set[str]:
    return {one["reason"] for one in batches(running) if "reason" in one}


def test_messages_are_invoked_with_and_deleted(aws: Aws, polling: Polling, notes: Path) -> None:
    queue = aws.make_queue()
    aws.send(queue, *({"name": str(number)} for number in range(7)))
    with polling(queue, "--batch-size", "5") as running:
        wait_until(lambda: aws.left(queue) == 0)
        wait_until(lambda: len(batches(running)) == 2)
    assert attempts(notes) == [["0", "1", "2", "3", "4"], ["5", "6"]]
    assert [(one["received"], one["deleted"], one["failed"]) for one in batches(running)] == [(5, 5, 0), (2, 2, 0)]


def test_the_record_of_a_real_message(aws: Aws, polling: Polling, notes: Path) -> None:
    queue = aws.make_queue()
    attributes = {
        "n": {"DataType": "Number", "StringValue": "7"},
        "b": {"DataType": "Binary", "BinaryValue": b"\x01"},
    }
    aws.send(queue, {"name": "a"}, MessageAttributes=attributes)
    with polling(queue):
        wait_until(lambda: aws.left(queue) == 0)
    [record] = journal(notes)[0]["records"]
    assert record["messageAttributes"]["n"]["stringValue"] == "7"
    assert record["messageAttributes"]["b"] == {
        "binaryValue": "AQ==",
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": "Binary",
    }
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert int(record["attributes"]["SentTimestamp"]) > 1e12
    assert record["eventSourceARN"] == aws.arn(queue)


def test_a_window_lets_a_batch_fill(aws: Aws, polling: Polling, notes: Path) -> None:
    queue = aws.make_queue()
    with polling(queue, "--batch-size", "12", "--batch-window", "300") as running:
        for number in range(12):
            aws.send(queue, {"name": str(number)})
        wait_until(lambda: len(batches(running)) == 1)
    assert sorted(attempts(notes)[0], key=int) == [str(number) for number in range(12)]


def test_only_what_failed_comes_back(aws: Aws, polling: Polling, notes: Path) -> None:
    queue = aws.make_queue(VisibilityTimeout=HIDDEN_S)
    aws.send(queue, {"name": "good"}, {"name": "bad", "once": {"fail": True}})
    with polling(queue) as running:
        wait_until(lambda: aws.left(queue) == 0)
    assert "bad" in attempts(notes)[-1]
    assert any((one["deleted"], one["failed"]) == (1, 1) for one in batches(running))


@pytest.mark.parametrize(
    "does",
    [
        {"raise": "no"},
        {"exit": 3},
        {"answer": {"batchItemFailures": [{"itemIdentifier": "nobody"}]}},
        {"answer": {"batchItemFailures": [{"itemIdentifier": ""}]}},
    ],
    ids=["error", "exit", "unknown id", "empty id"],
)
def test_a_batch_that_fails_comes_back_as_a_whole(
    aws: Aws, polling: Polling, notes: Path, does: dict[str, Any]
) -> None:
    queue = aws.make_queue(VisibilityTimeout=HIDDEN_S)
    aws.send(queue, {"name": "good"}, {"name": "bad", "once": does})
    with polling(queue) as running:
        wait_until(lambda: aws.left(queue) == 0)
    first = batches(running)[0]
    assert (first["received"], first["deleted"], first["failed"]) == (2, 0, 2)
    assert "reason" in first
    assert {"good", "bad"} <= set(finished(notes))
    assert len(attempts(notes)) > 1


def test_a_batch_that_times_out_comes_back(aws: Aws, polling: Polling, notes: Path) -> None:
    queue = aws.make_queue(VisibilityTimeout=HIDDEN_S)
    aws.send(queue, {"name": "slow", "once": {"wait": "/not/there"}})
    with polling(queue, "--timeout", "1") as running:
        wait_until(lambda: aws.left(queue) == 0)
    assert "Sandbox.Timedout" in reasons(running)
    assert "slow" in finished(notes)


def test_a_runtime_killed_in_the_middle_of_a_batch(aws: Aws, polling: Polling, notes: Path) -> None:
    queue = aws.make_queue(VisibilityTimeout=HIDDEN_S)
    aws.send(queue, {"name": "0"}, {"name": "1", "once": {"wait": "/not/there"}}, {"name": "2"})
    with polling(queue) as running:
        wait_until(lambda: len(attempts(notes)) == 1)
        os.kill(running.child("awslambdaric"), signal.SIGKILL)
        wait_until(lambda: aws.left(queue) == 0)
    assert "Runtime.ExitError" in reasons(running)
    assert {"0", "1", "2"} <= set(finished(notes))


def test_without_partial_failures_any_answer_deletes_all(aws: Aws, polling: Polling, notes: Path) -> None:
    queue = aws.make_queue()
    aws.send(queue, {"name": "bad", "fail": True})
    with polling(queue, "--batch-item-failures", "ignore"):
        wait_until(lambda: aws.left(queue) == 0)
    assert attempts(notes) == [["bad"]]


def test_what_fails_too_often_ends_in_the_dead_letter_queue(aws: Aws, polling: Polling, notes: Path) -> None:
    dead = aws.make_queue()
    redrive = json.dumps({"deadLetterTargetArn": aws.arn(dead), "maxReceiveCount": "2"})
    queue = aws.make_queue(VisibilityTimeout=1, RedrivePolicy=redrive)
    aws.send(queue, {"name": "poison", "fail": True}, {"name": "good"})
    with polling(queue):
        wait_until(lambda: aws.left(queue) == 0 and aws.left(dead) == 1)
    assert 1 <= sum("poison" in names for names in attempts(notes)) <= 2
    assert "poison" in aws.receive(dead)[0]["Body"]


def keep_busy(running: LocalLambda, directory: Path) -> threading.Thread:
    """Begin an invoke that lasts until `directory/there` exists."""
    event = {"do": "wait", "here": str(directory / "here"), "there": str(directory / "there")}
    thread = threading.Thread(target=lambda: running.invoke(event))
    thread.start()
    wait_until((directory / "here").exists)
    return thread


def test_a_throttled_batch_is_tried_again(aws: Aws, polling: Polling, notes: Path, tmp_path: Path) -> None:
    queue = aws.make_queue()
    with polling(queue) as running:
        busy = keep_busy(running, tmp_path)
        aws.send(queue, {"name": "a"})
        running.wait_for(lambda line: '"batch_throttled"' in line)
        (tmp_path / "there").touch()
        busy.join()
        wait_until(lambda: aws.left(queue) == 0)
    assert journal(notes)[0]["records"][0]["attributes"]["ApproximateReceiveCount"] == "1"


def test_a_batch_throttled_for_too_long_goes_back(aws: Aws, polling: Polling, notes: Path, tmp_path: Path) -> None:
    queue = aws.make_queue(VisibilityTimeout=1)
    with polling(queue) as running:
        busy = keep_busy(running, tmp_path)
        aws.send(queue, {"name": "a"})
        running.wait_for(lambda line: '"reason": "throttled"' in line)
        (tmp_path / "there").touch()
        busy.join()
        wait_until(lambda: aws.left(queue) == 0)
    assert int(journal(notes)[0]["records"][0]["attributes"]["ApproximateReceiveCount"]) > 1


def test_no_more_batches_at_a_time_than_the_maximum(aws: Aws, polling: Polling, notes: Path, tmp_path: Path) -> None:
    queue = aws.make_queue()
    aws.send(queue, *({"name": str(number), "wait": str(tmp_path / "go")} for number in range(6)))
    with polling(queue, "--batch-size", "1", "--queue-concurrency", "2", "--concurrency", "4"):
        wait_until(lambda: len(attempts(notes)) == 2)
        (tmp_path / "go").touch()
        wait_until(lambda: aws.left(queue) == 0)
    at_once, most = 0, 0
    for line in journal(notes):
        at_once += 1 if line["what"] == "begin" else -1
        most = max(most, at_once)
    assert most == 2


def test_groups_of_a_fifo_queue_keep_their_order(aws: Aws, polling: Polling, notes: Path) -> None:
    queue = aws.make_queue(fifo=True, VisibilityTimeout=HIDDEN_S)
    for number in range(3):
        for group in ("a", "b"):
            fails = {"once": {"raise": "no"}} if (group, number) == ("a", 1) else {}
            aws.send(queue, {"name": f"{group}{number}", **fails}, MessageGroupId=group)
    with polling(queue, "--batch-size", "1", "--concurrency", "2"):
        wait_until(lambda: aws.left(queue) == 0)
    for group in ("a", "b"):
        names = list(dict.fromkeys(name for name in finished(notes) if name.startswith(group)))
        assert names == [f"{group}{number}" for number in range(3)]


def test_what_follows_a_failure_in_a_group_does_not_overtake_it(aws: Aws, polling: Polling, notes: Path) -> None:
    queue = aws.make_queue(fifo=True, VisibilityTimeout=600)
    names = [str(number) for number in range(8)]
    for name in names:  # Received at once, but more than the 6 MB of one invoke.
        fails = {"raise": "no"} if name == "0" else {}
        aws.send(queue, {"name": name, "padding": "x" * 1_000_000, **fails}, MessageGroupId="g")
    with polling(queue) as running:
        wait_until(lambda: len(batches(running)) == 1)
    assert attempts(notes) == [names[:6]]
    assert aws.left(queue) == 8


def test_the_end_waits_for_the_batch_in_flight(aws: Aws, notes: Path, tmp_path: Path) -> None:
    queue = aws.make_queue()
    running = LocalLambda("--command", FUNCTIONS, "--env", f"JOURNAL={notes}", "--queue", queue, **aws.environ)
    aws.send(queue, {"name": "a", "wait": str(tmp_path / "go")})
    wait_until(lambda: len(attempts(notes)) == 1)
    running.process.send_signal(signal.SIGTERM)
    (tmp_path / "go").touch()
    assert running.end() == 0
    assert aws.left(queue) == 0


def test_a_batch_is_abandoned_at_the_end_if_it_takes_too_long(aws: Aws, notes: Path) -> None:
    queue = aws.make_queue()
    running = LocalLambda("--command", FUNCTIONS, "--env", f"JOURNAL={notes}", "--queue", queue, **aws.environ)
    aws.send(queue, {"name": "a", "wait": "/not/there"})
    wait_until(lambda: len(attempts(notes)) == 1)
    assert running.end() == 0
    assert any('"batches_abandoned"' in line for line in running.lines)
    assert aws.left(queue) == 1
