"""`python -m handler.worker.poll` as a process, with the demo model and moto's SQS and S3."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.handler.worker.conftest import BUCKET

JOB = {"prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}
WAIT_S = 60


class Process:
    """A poller whose log is read line by line."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.lines: list[dict[str, Any]] = []
        self.words: list[str] = []
        command = [sys.executable, "-m", "handler.worker.poll"]
        self.process = subprocess.Popen(
            command, env={**os.environ, **environ}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def until(self, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read on to the line that it is."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            if text.startswith("{"):
                self.lines.append(json.loads(text))
                if is_it(self.lines[-1]):
                    return self.lines[-1]
            else:
                self.words.append(text)
        raise AssertionError(f"the process ended: {self.words} {self.lines}")

    def ended(self) -> int:
        """Read to the end; return the exit code."""
        assert self.process.stdout is not None
        self.words += [text for text in self.process.stdout if not text.startswith("{")]
        return self.process.wait(WAIT_S)


@contextmanager
def polling(environ: dict[str, str]) -> Iterator[Process]:
    running = Process(environ)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait(WAIT_S)
        assert running.process.stdout is not None
        running.process.stdout.close()


@pytest.fixture
def sqs(s3_url: str, s3: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", s3_url)
    client = boto3.client("sqs")
    yield client
    for url in client.list_queues().get("QueueUrls", []):
        client.delete_queue(QueueUrl=url)
    client.close()


@pytest.fixture
def environ(demo_artefact: Path, s3_environ: dict[str, str], s3_url: str, sqs: Any) -> dict[str, str]:
    return {
        **s3_environ,
        "AWS_ENDPOINT_URL_SQS": s3_url,
        "FIREBRICK_MODEL_DIR": str(demo_artefact),
        "FIREBRICK_QUEUE_URL": sqs.create_queue(QueueName="jobs")["QueueUrl"],
        "FIREBRICK_QUEUE_VISIBILITY_S": "3",
        "FIREBRICK_QUEUE_WAIT_S": "1",
    }


def send(sqs: Any, environ: dict[str, str], key: str, **members: Any) -> None:
    body = json.dumps({**JOB, "idempotency_key": key, **members})
    sqs.send_message(QueueUrl=environ["FIREBRICK_QUEUE_URL"], MessageBody=body)


def kept(s3: Any) -> set[str]:
    return {item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])}


def waiting(sqs: Any, environ: dict[str, str]) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = sqs.get_queue_attributes(QueueUrl=environ["FIREBRICK_QUEUE_URL"], AttributeNames=names)
    return sum(map(int, answer["Attributes"].values()))


def test_jobs_are_answered_and_deleted_until_a_signal(sqs: Any, s3: Any, environ: dict[str, str]) -> None:
    for key in "abc":
        send(sqs, environ, key)
    with polling(environ) as running:
        while kept(s3) != {"results/a.json", "results/b.json", "results/c.json"}:
            running.until(lambda line: line.get("message") == "batch")
        assert waiting(sqs, environ) == 0
        running.process.send_signal(signal.SIGTERM)
        assert running.ended() == 0, running.words


def test_a_signal_lets_the_batch_in_hand_end(sqs: Any, s3: Any, environ: dict[str, str]) -> None:
    for key in "abcdef":
        send(sqs, environ, key, max_tokens=200, logit_bias={str(id): -100 for id in range(10)})
    with polling({**environ, "FIREBRICK_QUEUE_BATCH": "6", "FIREBRICK_SLOTS": "1"}) as running:
        running.until(lambda line: line.get("message") == "answered")
        running.process.send_signal(signal.SIGTERM)
        batch = running.until(lambda line: line.get("message") == "batch")
        assert running.ended() == 0, running.words
    assert (batch["failed"], batch["deleted"]) == (0, batch["received"])
    assert len(kept(s3)) == batch["received"]
    assert waiting(sqs, environ) == 6 - batch["received"]


def test_what_a_killed_process_held_is_answered_by_the_next_one(sqs: Any, s3: Any, environ: dict[str, str]) -> None:
    for key in "abcdef":
        send(sqs, environ, key, max_tokens=200, logit_bias={str(id): -100 for id in range(10)})
    with polling({**environ, "FIREBRICK_SLOTS": "1"}) as running:
        running.until(lambda line: line.get("message") == "answered")
        running.process.kill()
        assert running.ended() == -signal.SIGKILL
    assert waiting(sqs, environ) == 6
    with polling(environ) as running:
        while waiting(sqs, environ):
            running.until(lambda line: line.get("message") == "batch")
    assert kept(s3) == {f"results/{key}.json" for key in "abcdef"}


def test_poison_is_in_the_dead_letter_queue_and_the_others_are_answered(
    sqs: Any, s3: Any, environ: dict[str, str]
) -> None:
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    sqs.set_queue_attributes(QueueUrl=environ["FIREBRICK_QUEUE_URL"], Attributes={"RedrivePolicy": policy})
    sqs.send_message(QueueUrl=environ["FIREBRICK_QUEUE_URL"], MessageBody="{")
    send(sqs, environ, "good")
    with polling(environ) as running:
        running.until(lambda line: line.get("message") == "failed")
        while not (found := sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=1).get("Messages")):
            assert running.process.poll() is None
        while "results/good.json" not in kept(s3):
            assert running.process.poll() is None
    assert [message["Body"] for message in found] == ["{"]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"FIREBRICK_QUEUE_URL": ""}, "FIREBRICK_QUEUE_URL="),
        ({"FIREBRICK_QUEUE_URL": "jobs"}, "expected an SQS queue's URL"),
        ({"FIREBRICK_QUEUE_BATCH": "11"}, "FIREBRICK_QUEUE_BATCH='11'"),
        ({"FIREBRICK_MODEL_DIR": "/nowhere"}, "/nowhere"),
        ({"FIREBRICK_QUEUE_URL": "http://127.0.0.1/123456789012/other"}, "can't be polled"),
    ],
)
def test_a_start_that_fails_is_one_line_and_exit_code_2(
    environ: dict[str, str], changed: dict[str, str], named: str
) -> None:
    with polling({**environ, **changed}) as running:
        assert running.ended() == 2
    assert len(running.words) == 1, running.words
    assert running.words[0].startswith("firebrick: ")
    assert named in running.words[0]
