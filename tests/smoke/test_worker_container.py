"""The worker function's image in a container as Lambda restricts it; its results go to moto's S3."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from image.local.podman import inspect_image, podman
from tests.image.local.lambda_process import LocalLambda, local_lambda, wait_until
from tests.smoke.containers import WORKER, containers, process, require_image

BUCKET = "results"
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
SQS = {"eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:jobs", "awsRegion": "us-east-1"}


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=url, **KEYS).create_bucket(Bucket=BUCKET)
    yield url
    server.stop()


def worker_function(storage: str, *arguments: str, **environ: str) -> AbstractContextManager[LocalLambda]:
    require_image(WORKER)
    variables = {"FIREBRICK_RESULTS_BUCKET": BUCKET, "AWS_ENDPOINT_URL_S3": storage}
    given = [part for key, value in variables.items() for part in ("--env", f"{key}={value}")]
    reach = ["--reach", storage.rsplit(":", 1)[1]] if os.geteuid() == 0 else []
    return local_lambda("--image", WORKER, *given, *reach, *arguments, **environ)


@pytest.fixture(scope="module")
def running(storage: str) -> Iterator[LocalLambda]:
    with worker_function(storage, "--memory", "1769") as running:
        yield running


def message(id: str, body: object) -> dict[str, Any]:
    text = body if isinstance(body, str) else json.dumps(body)
    attributes = {"ApproximateReceiveCount": "1"}
    return {
        "messageId": id,
        "receiptHandle": id,
        "body": text,
        "attributes": attributes,
        "messageAttributes": {},
        **SQS,
    }


def test_a_plain_invoke(running: LocalLambda) -> None:
    payload, error = running.invoke({"prompt": "What is a cold start?", "max_tokens": 5})
    assert error is None, payload
    assert isinstance(payload["text"], str)
    assert payload["usage"]["completion_tokens"] <= 5
    assert {"finish_reason", "timings"} <= set(payload)


def test_messages_fail_one_by_one(running: LocalLambda, storage: str) -> None:
    good, poison = message("good", {"prompt": "Hello", "max_tokens": 3}), message("poison", "{")
    payload, error = running.invoke({"Records": [good, poison]})
    assert (payload, error) == ({"batchItemFailures": [{"itemIdentifier": "poison"}]}, None)
    stored = boto3.client("s3", endpoint_url=storage, **KEYS).get_object(Bucket=BUCKET, Key="results/good.json")
    assert "text" in json.loads(stored["Body"].read())


def test_a_queue_and_its_dead_letters(storage: str) -> None:
    sqs = boto3.client("sqs", endpoint_url=storage, **KEYS)
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    redrive = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:123456789012:dead", "maxReceiveCount": "2"}
    attributes = {"VisibilityTimeout": "5", "RedrivePolicy": json.dumps(redrive)}
    queue = sqs.create_queue(QueueName="jobs", Attributes=attributes)["QueueUrl"]
    key = {"idempotency_key": {"DataType": "String", "StringValue": "from-the-queue"}}
    environ = {"AWS_ENDPOINT_URL": storage, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    with worker_function(storage, "--queue", queue, **environ) as running:
        running.invoke({"prompt": "Hello", "max_tokens": 1})  # A cold start may take as long as messages are hidden.
        sqs.send_message(QueueUrl=queue, MessageBody='{"prompt": "Hello", "max_tokens": 3}', MessageAttributes=key)
        sqs.send_message(QueueUrl=queue, MessageBody="{")
        wait_until(lambda: len(sqs.receive_message(QueueUrl=dead, VisibilityTimeout=0).get("Messages", [])) == 1)
    stored = boto3.client("s3", endpoint_url=storage, **KEYS).get_object(
        Bucket=BUCKET, Key="results/from-the-queue.json"
    )
    assert "text" in json.loads(stored["Body"].read())


def test_a_worker_killed_in_the_middle_of_a_batch(running: LocalLambda) -> None:
    running.invoke({"prompt": "Hello", "max_tokens": 1})
    batch = [message(f"m{number}", {"prompt": "Tell me a story.", "max_tokens": 500}) for number in range(200)]
    results: list[Any] = []
    starts = sum(line.startswith("START") for line in running.lines)
    busy = threading.Thread(target=lambda: results.append(running.invoke({"Records": batch})))
    busy.start()
    wait_until(lambda: sum(line.startswith("START") for line in running.lines) > starts)
    os.kill(process(running, "awslambdaric"), signal.SIGKILL)
    busy.join()
    assert results[0][0]["errorType"] == "Runtime.ExitError"
    assert running.invoke({"prompt": "Hello", "max_tokens": 1})[1] is None


def test_an_event_that_is_none(running: LocalLambda) -> None:
    payload, error = running.invoke({"nothing": 1})
    assert error == "Unhandled"
    assert "nothing" in payload["errorMessage"]


def test_an_artefact_that_is_not_there(storage: str) -> None:
    with worker_function(storage, "--env", "FIREBRICK_MODEL_DIR=/not/there") as running:
        payload, _ = running.invoke({"prompt": "Hello"})
    assert "/not/there" in payload["errorMessage"]


GREEDY = """
import json, os, urllib.request
base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(base + "next") as answer:
        eaten = b"x" * json.load(answer)
        request_id = answer.headers["Lambda-Runtime-Aws-Request-Id"]
    urllib.request.urlopen(base + request_id + "/response", str(len(eaten)).encode()).close()
"""


@pytest.fixture
def greedy() -> Iterator[str]:
    """The worker's image with a function that takes as much memory as it is told."""
    require_image(WORKER)
    name, image = f"firebrick-greedy-{os.getpid()}", f"localhost/firebrick-greedy:{os.getpid()}"
    words = inspect_image(WORKER).command
    interpreter = next(number for number, word in enumerate(words) if "python" in word)
    entry = json.dumps([*words[: interpreter + 1], "-c", GREEDY])
    changes = ["--change", f"ENTRYPOINT {entry}", "--change", "CMD []"]
    run = functools.partial(subprocess.run, check=True, capture_output=True)
    run(podman("create", "--name", name, "--pull", "never", WORKER))
    try:
        run(podman("commit", *changes, name, image))
        yield image
        run(podman("rmi", image))
    finally:
        run(podman("rm", name))


def test_an_exit_code_comes_through(greedy: str) -> None:
    with local_lambda("--image", greedy, "--env", "AWS_LAMBDA_RUNTIME_API=nowhere:1") as running:
        payload, _ = running.invoke(1)
    assert payload["errorMessage"].endswith("Runtime exited with error: exit status 1")


def test_out_of_memory(greedy: str) -> None:
    with local_lambda("--image", greedy, "--memory", "128", "--cpus", "1") as running:
        assert running.invoke(1000) == (1000, None)
        payload, error = running.invoke(500_000_000)
        report = running.report(2)
        again = running.invoke(1000)
    assert (payload["errorType"], error) == ("Runtime.OutOfMemory", "Unhandled")
    assert payload["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    assert "Max Memory Used: 128 MB" in report
    assert again == (1000, None)


@pytest.mark.parametrize("cpus", ["1", "6"])
def test_at_512_mb_on_one_processor_and_on_six(storage: str, cpus: str) -> None:
    with worker_function(storage, "--memory", "512", "--cpus", cpus) as running:
        payload, error = running.invoke({"prompt": "Hello", "max_tokens": 3})
        assert error is None, payload
        assert len(containers(running)) == 1
