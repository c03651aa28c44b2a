"""The real Web Adapter in front of the real server, behind the function URL; clients as people have them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from bench.port import free_port
from tests.image.local.lambda_process import ROOT, LocalLambda, local_lambda

ADAPTER = ROOT / "build" / "lwa" / "bin" / "lambda-adapter"
POOL_S = 4.0  # after which the adapter drops a connection that nobody uses
STORY: dict[str, Any] = {"model": "firebrick-demo", "messages": [{"role": "user", "content": "Tell me a story."}]}
# A full context, and much to write for each token, take even a tiny model its time.
SLOWLY: dict[str, Any] = {**STORY, "stream": True, "logprobs": True, "top_logprobs": 20, "max_tokens": 10_000}

pytestmark = pytest.mark.skipif(
    not ADAPTER.exists(), reason=f"NOT TESTED: {ADAPTER} is not there; `make lwa` builds it"
)


def stream_function(model_dir: Path, *arguments: str) -> AbstractContextManager[LocalLambda]:
    """Run the stream function's two processes as its image does."""
    variables = {
        "FIREBRICK_MODEL_DIR": str(model_dir),
        "FIREBRICK_VERIFY": "quick",
        "AWS_LWA_PORT": str(free_port()),
        "AWS_LWA_INVOKE_MODE": "response_stream",
        "AWS_LWA_READINESS_CHECK_PATH": "/health",
        "AWS_LWA_READINESS_CHECK_MIN_UNHEALTHY_STATUS": "400",
    }
    given = [part for key, value in variables.items() for part in ("--env", f"{key}={value}")]
    command = ["--command", f"{sys.executable} -m handler", "--extension", str(ADAPTER)]
    return local_lambda(*command, *given, *arguments)


@pytest.fixture(scope="module")
def running(demo_artefact: Path) -> Iterator[LocalLambda]:
    with stream_function(demo_artefact) as running:
        yield running


@pytest.fixture(scope="module")
def client(running: LocalLambda) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{running.url}v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def never_ending(demo_artefact: Path) -> dict[str, Any]:
    """A request that ends with the context, not before."""
    ends = json.loads((demo_artefact / "firebrick.json").read_text())["tokenizer"]["eos_token_ids"]
    return {**SLOWLY, "logit_bias": {str(id): -100 for id in ends}}


def test_streamed_and_buffered_say_the_same(client: openai.OpenAI) -> None:
    options: dict[str, Any] = {**STORY, "max_tokens": 20, "seed": 7}
    whole = client.chat.completions.create(**options)
    chunks = list(client.chat.completions.create(**options, stream=True))
    assert len(chunks) > 10
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content


def test_chunks_arrive_while_the_server_generates(running: LocalLambda, never_ending: dict[str, Any]) -> None:
    with httpx.stream("POST", f"{running.url}v1/chat/completions", json=never_ending, timeout=60) as answer:
        arrived = [time.monotonic() for _ in answer.iter_raw()]
    assert len(arrived) > 10
    assert arrived[-1] - arrived[0] > 0.1  # All at once would be microseconds.


def test_the_servers_own_errors_keep_their_status(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="not served here"):
        client.chat.completions.create(**{**STORY, "model": "other"})


def test_the_servers_headers(running: LocalLambda) -> None:
    answer = httpx.get(f"{running.url}v1/models")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers.get_list("date") == [answer.headers["date"]]
    assert {"x-request-id", "x-amzn-requestid"} <= set(answer.headers)


def test_a_request_that_is_too_large(running: LocalLambda) -> None:
    answer = httpx.post(f"{running.url}v1/chat/completions", content=b'"' + b"x" * 2**23 + b'"')
    assert answer.status_code == 413


def test_a_server_killed_in_mid_stream(
    running: LocalLambda, client: openai.OpenAI, never_ending: dict[str, Any]
) -> None:
    received = b""
    with httpx.stream("POST", f"{running.url}v1/chat/completions", json=never_ending, timeout=60) as answer:
        chunks = answer.iter_raw()
        received += next(chunks)
        os.kill(running.child("-m handler"), signal.SIGKILL)
        with pytest.raises(httpx.RemoteProtocolError):
            received += b"".join(chunks)
    assert b"[DONE]" not in received
    running.wait_for(lambda line: line.endswith("Status: error\tError Type: Runtime.ExitError"))
    assert len(list(client.chat.completions.create(**STORY, max_tokens=4, stream=True))) > 1


def test_after_a_freeze_that_outlives_the_adapters_connections(client: openai.OpenAI) -> None:
    client.chat.completions.create(**STORY, max_tokens=4)
    time.sleep(POOL_S + 1)  # not for luck: it is this time that makes the connection stale
    assert client.chat.completions.create(**STORY, max_tokens=4).usage is not None


def test_a_time_out_in_mid_stream(demo_artefact: Path, never_ending: dict[str, Any]) -> None:
    with stream_function(demo_artefact, "--timeout", "9") as running:
        with httpx.stream("POST", f"{running.url}v1/chat/completions", json=never_ending, timeout=60) as answer:
            chunks = answer.iter_raw()
            next(chunks)
            os.kill(running.child("-m handler"), signal.SIGSTOP)  # So that it can't end in good order by itself.
            with pytest.raises(httpx.RemoteProtocolError):
                list(chunks)
        assert running.report().endswith("Status: timeout")
        assert httpx.get(f"{running.url}v1/models").status_code == 200


@pytest.mark.parametrize("fault", ["missing", "damaged", "incomplete"])
def test_an_artefact_that_cannot_be_served(demo_artefact: Path, tmp_path: Path, fault: str) -> None:
    model_dir = tmp_path / "model"
    if fault != "missing":
        shutil.copytree(demo_artefact, model_dir)
        (model_dir / "firebrick.json").unlink()
    if fault == "damaged":
        (model_dir / "firebrick.json").write_text("{")
    with stream_function(model_dir) as running:
        answer = httpx.get(f"{running.url}v1/models", timeout=60)
        running.report()
        starts = [line for line in running.lines if line.startswith("INIT_REPORT ")]
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (502, "Runtime.ExitError")
    assert any(line.startswith("firebrick: ") and str(model_dir) in line for line in running.lines)
    assert ["Runtime.ExitError" in start for start in starts] == [True, True]  # once before the invoke, once within
