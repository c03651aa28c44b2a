"""A second opinion: the worker's image under AWS's own Runtime Interface Emulator."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from bench.port import free_port
from image.local.podman import podman
from tests.conftest import ROOT
from tests.smoke.containers import WORKER, require_image
from tests.smoke.restricted import READY_S, RESTRICTIONS

EMULATOR = ROOT / "build" / "emulator" / "aws-lambda-rie"
FUNCTION = "/2015-03-31/functions/function/invocations"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    require_image(WORKER)
    if not os.access(EMULATOR, os.X_OK):
        pytest.skip(f"NOT TESTED: {EMULATOR} is not there; `make {EMULATOR.relative_to(ROOT)}` fetches it")
    port, api_port = free_port(), free_port()
    name = f"firebrick-emulator-{uuid.uuid4().hex[:12]}"
    addresses = (
        *("--runtime-interface-emulator-address", f"127.0.0.1:{port}"),
        *("--runtime-api-address", f"127.0.0.1:{api_port}"),
    )
    entry = ("/usr/bin/env", "python3", "-m", "awslambdaric", "handler.worker.function.handle")
    options = ("--name", name, "--volume", f"{EMULATOR}:/emulator:ro", "--entrypoint", "/emulator")
    process = subprocess.Popen(podman("run", "--rm", *RESTRICTIONS, *options, WORKER, *addresses, *entry))
    try:
        yield f"http://127.0.0.1:{port}{FUNCTION}"
    finally:
        subprocess.run(podman("rm", "--force", "--time", "1", "--ignore", name), capture_output=True)
        process.wait(READY_S)


def invoke(url: str, event: object) -> Any:
    """Invoke as soon as somebody listens."""
    deadline = time.monotonic() + READY_S
    while True:
        try:
            with urllib.request.urlopen(url, json.dumps(event).encode(), timeout=READY_S) as answer:
                return json.load(answer)
        except (ConnectionError, urllib.error.URLError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_a_plain_invoke_is_answered(url: str) -> None:
    result = invoke(url, {"messages": [{"role": "user", "content": "What is a cold start?"}], "max_tokens": 8})
    assert result["text"]
    assert result["usage"]["completion_tokens"] <= 8


def test_what_is_refused_is_an_error_of_the_function(url: str) -> None:
    result = invoke(url, {"prompt": "hello", "max_tokens": -1})
    assert result["errorType"] == "InvalidValue"
    assert "max_tokens" in result["errorMessage"]


def test_the_next_invoke_works(url: str) -> None:
    assert invoke(url, {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4})["text"]
