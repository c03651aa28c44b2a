"""A thousand jobs for the deployed worker, some of them poison, its processes killed in mid-batch: none is lost."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deployment.functions import run_deployed
from tests.deployment.leftovers import aws
from tests.deployment.workspace import Workspace
from tests.image.local.lambda_process import LocalLambda
from tests.smoke.containers import containers

JOBS = 1000
POISON = 13  # each so many-th job is one that nobody can answer
KILLS = (20, 300, 600)  # after so many results a worker process is killed
BROKEN = ("{", '{"prompt": 5}', '{"nothing": 1}', '{"prompt": "Hello", "model": "another"}')
PATIENCE_S = 300
SOON = ("--async-retry-delay", "1")  # instead of a minute


@dataclass
class Account:
    """The queues and the bucket of a deployment."""

    workspace: Workspace

    def send(self, jobs: dict[str, str]) -> None:
        """Put jobs into the queue: key → body."""
        sqs, url = aws(self.workspace.endpoint, "sqs"), self.workspace.outputs()["queue_url"]
        names = list(jobs)
        for start in range(0, len(names), 10):
            entries = [
                {
                    "Id": name,
                    "MessageBody": jobs[name],
                    "MessageAttributes": {"idempotency_key": {"DataType": "String", "StringValue": name}},
                }
                for name in names[start : start + 10]
            ]
            assert not sqs.send_message_batch(QueueUrl=url, Entries=entries).get("Failed")

    def results(self) -> list[str]:
        """The jobs that have a result; other tests leave others."""
        s3, bucket = aws(self.workspace.endpoint, "s3"), self.workspace.outputs()["buckets"]["results"]
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="results/job-")
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return sorted(key.removeprefix("results/").removesuffix(".json") for key in keys)

    def left(self, output: str) -> int:
        """Messages of a queue, visible or not."""
        url = self.workspace.outputs()[output]
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = aws(self.workspace.endpoint, "sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)
        return sum(int(value) for value in found["Attributes"].values())

    def dead(self) -> list[str]:
        """The keys of what was given up."""
        sqs, url = aws(self.workspace.endpoint, "sqs"), self.workspace.outputs()["dead_letter_queue_url"]
        keys: list[str] = []
        while True:
            answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
            if not answer.get("Messages"):
                return sorted(keys)
            for message in answer["Messages"]:
                keys.append(message["MessageAttributes"]["idempotency_key"]["StringValue"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def wait(done: Callable[[], bool], running: LocalLambda) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline, running.lines[-40:]
        time.sleep(0.2)


def kill_a_worker(running: LocalLambda) -> bool:
    """Kill the runtime's process of one environment; return whether there was one."""
    for first in containers(running):
        with suppress(OSError):  # It may just have ended.
            for pid in Path(f"/proc/{first}/task/{first}/children").read_text().split():
                if b"awslambdaric" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(int(pid), signal.SIGKILL)
                    return True
    return False


@pytest.fixture(scope="module")
def account(deployed: Workspace) -> Account:
    url = deployed.outputs()["dead_letter_queue_url"]
    aws(deployed.endpoint, "sqs").purge_queue(QueueUrl=url)  # of what other tests have left
    return Account(deployed)


@pytest.fixture(scope="module")
def running(account: Account) -> Iterator[LocalLambda]:
    queue = account.workspace.outputs()["queue_url"]
    with run_deployed(account.workspace, "worker", "--queue", queue, "--concurrency", "2", *SOON) as running:
        yield running


def test_each_of_a_thousand_jobs_is_answered_once_or_given_up(account: Account, running: LocalLambda) -> None:
    poison = {f"job-{number}": BROKEN[number % len(BROKEN)] for number in range(0, JOBS, POISON)}
    good = {f"job-{number}" for number in range(JOBS)} - set(poison)
    question = {"messages": [{"role": "user", "content": "What is a cold start?"}], "max_tokens": 8}
    account.send({**{name: json.dumps(question) for name in sorted(good)}, **poison})

    for count in KILLS:
        wait(lambda count=count: len(account.results()) >= count, running)  # type: ignore[misc]  # a default is typed
        wait(lambda: kill_a_worker(running), running)
    wait(lambda: len(account.results()) + account.left("dead_letter_queue_url") >= JOBS, running)

    assert account.left("queue_url") == 0
    assert account.results() == sorted(good)
    assert account.dead() == sorted(poison)
    assert sum("Runtime.ExitError" in line for line in running.lines) >= len(KILLS)


def test_a_plain_asynchronous_invoke_that_fails_ends_in_the_dead_letter_queue(
    account: Account, running: LocalLambda
) -> None:
    running.client().invoke(FunctionName="firebrick-worker:live", Payload=b'{"nothing": 1}', InvocationType="Event")
    sqs, url = aws(account.workspace.endpoint, "sqs"), account.workspace.outputs()["dead_letter_queue_url"]
    found: list[dict[str, Any]] = []

    def received() -> bool:
        answer = sqs.receive_message(QueueUrl=url)
        found.extend(json.loads(message["Body"]) for message in answer.get("Messages", []))
        return bool(found)

    wait(received, running)
    assert found[0]["requestPayload"] == {"nothing": 1}
    assert found[0]["requestContext"]["condition"] == "RetriesExhausted"
    assert found[0]["requestContext"]["approximateInvokeCount"] == 3
