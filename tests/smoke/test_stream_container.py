"""The stream function's image in a container as Lambda restricts it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.image.local.lambda_process import LocalLambda, local_lambda
from tests.image.local.test_adapter import POOL_S, SLOWLY, STORY
from tests.smoke.containers import STREAM, containers, inside, process, require_image, status

NEVER_ENDING: dict[str, Any] = {**SLOWLY, "logit_bias": {str(id): -100 for id in range(10)}}


def stream_function(*arguments: str) -> AbstractContextManager[LocalLambda]:
    require_image(STREAM)
    return local_lambda("--image", STREAM, *arguments)


@pytest.fixture(scope="module")
def running() -> Iterator[LocalLambda]:
    with stream_function("--memory", "1769") as running:
        yield running


@pytest.fixture(scope="module")
def client(running: LocalLambda) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{running.url}v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


def ask(running: LocalLambda) -> int:
    return httpx.post(f"{running.url}v1/chat/completions", json={**STORY, "max_tokens": 4}, timeout=60).status_code


def test_chunks_arrive_while_the_server_generates(running: LocalLambda) -> None:
    with httpx.stream("POST", f"{running.url}v1/chat/completions", json=NEVER_ENDING, timeout=60) as answer:
        arrived = [time.monotonic() for _ in answer.iter_raw()]
    assert len(arrived) > 10
    assert arrived == sorted(arrived)
    assert arrived[-1] - arrived[0] > 0.1


def test_the_openai_client(client: openai.OpenAI) -> None:
    options: dict[str, Any] = {**STORY, "max_tokens": 20, "seed": 7}
    whole = client.chat.completions.create(**options)
    chunks = list(client.chat.completions.create(**options, stream=True))
    assert len(chunks) > 1
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content


def test_boto3s_response_stream(running: LocalLambda) -> None:
    http = {"method": "GET", "path": "/v1/models", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "x"}
    context: dict[str, Any] = {
        "accountId": "1",
        "apiId": "a",
        "domainName": "d",
        "http": http,
        "requestId": "r",
        "stage": "$default",
    }
    context |= {"time": "12/Mar/2020:19:03:58 +0000", "timeEpoch": 1, "routeKey": "$default"}
    event = {"version": "2.0", "routeKey": "$default", "rawPath": "/v1/models", "rawQueryString": "", "headers": {}}
    payload = json.dumps({**event, "requestContext": context, "isBase64Encoded": False})
    answer = running.client().invoke_with_response_stream(FunctionName="firebrick", Payload=payload)
    *chunks, complete = list(answer["EventStream"])
    prelude, body = b"".join(chunk["PayloadChunk"]["Payload"] for chunk in chunks).split(bytes(8))
    assert json.loads(prelude)["statusCode"] == 200
    assert json.loads(body)["data"][0]["object"] == "model"
    assert complete["InvokeComplete"] == {}


def test_the_restrictions_hold(running: LocalLambda) -> None:
    ask(running)
    server = process(running, "handler")
    kernel = status(server)
    environment = Path(f"/proc/{server}/environ").read_bytes()
    assert kernel["Uid"].split()[0] == "993"
    assert (int(kernel["CapEff"], 16), kernel["NoNewPrivs"]) == (0, "1")
    assert not inside(server, "/dev/shm").exists()
    assert list(inside(server, "/sys/devices/system/cpu").iterdir()) == []
    assert b"HOME=" not in environment
    assert b"AWS_LAMBDA_RUNTIME_API=127.0.0.1:9001" in environment
    mounts = [line.split() for line in Path(f"/proc/{server}/mounts").read_text().splitlines()]
    options = {mount[1]: mount[3].split(",") for mount in mounts}
    assert "ro" in options["/"]
    assert "size=524288k" in options["/tmp"]


def test_memory_is_reported(running: LocalLambda) -> None:
    ask(running)
    used = int(running.report().split("Max Memory Used: ")[1].split()[0])
    assert 40 < used < 1769


def test_a_server_killed_in_mid_stream(running: LocalLambda) -> None:
    ask(running)
    server = process(running, "handler")
    with httpx.stream("POST", f"{running.url}v1/chat/completions", json=NEVER_ENDING, timeout=60) as answer:
        chunks = answer.iter_raw()
        next(chunks)
        os.kill(server, signal.SIGKILL)
        with pytest.raises(httpx.RemoteProtocolError):
            list(chunks)
    running.wait_for(lambda line: line.endswith("Error Type: Runtime.ExitError"))
    assert ask(running) == 200


def test_after_a_freeze_that_outlives_the_adapters_connections(running: LocalLambda) -> None:
    ask(running)
    time.sleep(POOL_S + 1)  # not for luck: it is this time that makes the connection stale
    assert ask(running) == 200


@pytest.mark.parametrize("cpus", ["1", "6"])
def test_at_512_mb_on_one_processor_and_on_six(cpus: str) -> None:
    with stream_function("--memory", "512", "--cpus", cpus) as running:
        assert ask(running) == 200


def test_two_environments_side_by_side() -> None:
    with (
        stream_function("--concurrency", "2") as running,
        httpx.stream("POST", f"{running.url}v1/chat/completions", json=NEVER_ENDING, timeout=60) as one,
        httpx.stream("POST", f"{running.url}v1/chat/completions", json=NEVER_ENDING, timeout=60) as two,
    ):
        assert (one.status_code, two.status_code) == (200, 200)
        assert len(containers(running)) == 2


def test_an_artefact_that_is_not_there() -> None:
    with stream_function("--env", "FIREBRICK_MODEL_DIR=/not/there") as running:
        answer = httpx.get(f"{running.url}v1/models", timeout=60)
        running.report()
        starts = [line for line in running.lines if line.startswith("INIT_REPORT ")]
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (502, "Runtime.ExitError")
    assert any(line.startswith("firebrick: ") and "/not/there" in line for line in running.lines)
    assert len(starts) == 2


def test_a_time_out_in_mid_stream() -> None:
    with stream_function("--timeout", "2") as running:
        ask(running)
        server = process(running, "handler")
        with httpx.stream("POST", f"{running.url}v1/chat/completions", json=NEVER_ENDING, timeout=60) as answer:
            chunks = answer.iter_raw()
            next(chunks)
            os.kill(server, signal.SIGSTOP)  # So that it can't end in good order by itself.
            with pytest.raises(httpx.RemoteProtocolError):
                list(chunks)
        # The connection breaks before the line is written.
        until = time.monotonic() + 60
        while not running.report().endswith("Status: timeout") and time.monotonic() < until:
            time.sleep(0.05)
        assert running.report().endswith("Status: timeout")
        assert ask(running) == 200


def test_nothing_is_left_behind() -> None:
    with stream_function() as running:
        ask(running)
        assert len(containers(running)) == 1
    assert containers(running) == []
