"""The worker function's image in a container as Lambda restricts it; its results go to moto's S3."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

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


def worker_function(storage: str, *arguments: str) -> AbstractContextManager[LocalLambda]:
    require_image(WORKER)
    variables = {"FIREBRICK_RESULTS_BUCKET": BUCKET, "AWS_ENDPOINT_URL_S3": storage}
    given = [part for key, value in variables.items() for part in ("--env", f"{key}={value}")]
    reach = ["--reach", storage.rsplit(":", 1)[1]] if os.geteuid() == 0 else []
    return local_lambda("--image", WORKER, *given, *reach, *arguments)


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


@pytest.mark.parametrize("cpus", ["1", "6"])
def test_at_512_mb_on_one_processor_and_on_six(storage: str, cpus: str) -> None:
    with worker_function(storage, "--memory", "512", "--cpus", cpus) as running:
        payload, error = running.invoke({"prompt": "Hello", "max_tokens": 3})
        assert error is None, payload
        assert len(containers(running)) == 1
