"""The examples that need AWS, against what stands in for it: a local Lambda and moto."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from tests.image.local.conftest import KEYS, REGION, Aws
from tests.image.local.lambda_process import ROOT, LocalLambda, local_lambda
from tests.image.local.test_adapter import ADAPTER, stream_function

WORKER = f"{sys.executable} -m awslambdaric handler.worker.function.handle"


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    return subprocess.run(command, cwd=ROOT, env={**clean, **environ}, capture_output=True, text=True, timeout=60)


def test_a_job_and_its_result(aws: Aws, demo_artefact: Path) -> None:
    storage = boto3.client(
        "s3",
        region_name=REGION,
        endpoint_url=aws.environ["AWS_ENDPOINT_URL"],
        **{k.lower(): v for k, v in KEYS.items()},
    )
    storage.create_bucket(Bucket="results-of-examples")
    queue = aws.make_queue()
    given = {"FIREBRICK_MODEL_DIR": str(demo_artefact), "FIREBRICK_RESULTS_BUCKET": "results-of-examples"}
    given["AWS_ENDPOINT_URL"] = aws.environ["AWS_ENDPOINT_URL"]
    settings = [part for name, value in given.items() for part in ("--env", f"{name}={value}")]
    with local_lambda("--command", WORKER, "--queue", queue, *settings, **aws.environ):
        place = {"AWS_DEFAULT_REGION": REGION, "QUEUE_URL": queue, "RESULTS_BUCKET": "results-of-examples"}
        done = run(sys.executable, "examples/sqs_job.py", "What is 347 + 285?", **aws.environ, **place)
    assert done.returncode == 0, done.stderr
    assert "632" in done.stdout
    assert "tokens, stop" in done.stdout


@pytest.fixture(scope="module")
def signed(demo_artefact: Path) -> Iterator[LocalLambda]:
    with stream_function(demo_artefact, "--url-auth", "AWS_IAM") as running:
        yield running


@pytest.mark.skipif(not ADAPTER.exists(), reason=f"NOT TESTED: {ADAPTER} is not there; `make lwa` builds it")
@pytest.mark.parametrize(
    "command", [[sys.executable, "examples/sigv4.py"], ["sh", "examples/sigv4.sh"]], ids=["py", "sh"]
)
@pytest.mark.parametrize(("secret", "right"), [("test", True), ("other", False)])
def test_a_signed_request(signed: LocalLambda, command: list[str], secret: str, right: bool) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "us-east-1"}
    done = run(*command, "What is 347 + 285?", OPENAI_BASE_URL=f"{signed.url}v1", **keys)
    assert (done.returncode == 0) == right, done.stderr
    assert ("632" in done.stdout or done.stdout.endswith("data: [DONE]\n\n")) == right
