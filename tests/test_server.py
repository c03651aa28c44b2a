"""The real process with a real artefact, over a real socket, through the official client."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from bench.port import free_port
from tests.handler.emf import metrics_of
from tests.handler.secrets_manager import NAME, SecretsManager, moto_server, secrets_manager
from tests.server import Server

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Tell me a story."}]


@pytest.fixture(scope="module")
def server(demo_artefact: Path) -> Iterator[Server]:
    server = Server(demo_artefact)
    yield server
    assert server.end() == (0, "")


@pytest.fixture(scope="module")
def client(server: Server) -> openai.OpenAI:
    return server.client()


@pytest.fixture(scope="module")
def slowly(demo_artefact: Path) -> dict[str, Any]:
    """Options that make even a tiny model take its time: a full context, and much to write for each token."""
    ends = json.loads((demo_artefact / "firebrick.json").read_text())["tokenizer"]["eos_token_ids"]
    never = {str(id): -100 for id in ends}
    return {"logit_bias": never, "logprobs": True, "top_logprobs": 20, "max_tokens": 10_000}


def words(stream: Any) -> str:
    return "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)


def test_a_buffered_chat(client: openai.OpenAI, server: Server) -> None:
    answer = client.chat.completions.create(model=server.model, messages=MESSAGES, max_tokens=8)
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.role == "assistant"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_streamed_chat_says_the_same(client: openai.OpenAI, server: Server) -> None:
    options: dict[str, Any] = {"model": server.model, "messages": MESSAGES, "max_tokens": 20, "seed": 7}
    whole = client.chat.completions.create(**options)
    assert words(client.chat.completions.create(**options, stream=True)) == whole.choices[0].message.content


def test_the_first_chunk_has_the_role_and_the_last_the_usage(client: openai.OpenAI, server: Server) -> None:
    chunks: list[ChatCompletionChunk] = list(
        client.chat.completions.create(
            model=server.model,
            messages=MESSAGES,
            max_tokens=4,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.usage is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert chunks[-1].choices == []
    assert chunks[-2].choices[0].finish_reason in ("stop", "length")
    assert chunks[-2].model_extra is not None
    assert chunks[-2].model_extra["timings"]["completion_tokens"] >= 0


def test_an_async_client(server: Server) -> None:
    async def ask() -> tuple[str, str | None]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
            options: dict[str, Any] = {
                "model": server.model,
                "messages": MESSAGES,
                "max_tokens": 8,
                "temperature": 0,
            }
            stream = await client.chat.completions.create(**options, stream=True)
            text = "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices])
            whole = await client.chat.completions.create(**options)
            return text, whole.choices[0].message.content

    streamed, whole = asyncio.run(ask())
    assert streamed == whole


def test_completions(client: openai.OpenAI, server: Server) -> None:
    options: dict[str, Any] = {"model": server.model, "prompt": "Once", "max_tokens": 8, "temperature": 0}
    whole = client.completions.create(**options, logprobs=2)
    streamed = "".join(chunk.choices[0].text for chunk in client.completions.create(**options, stream=True))
    assert whole.choices[0].text == streamed
    assert whole.choices[0].logprobs is not None
    assert len(whole.choices[0].logprobs.tokens or []) == (whole.usage and whole.usage.completion_tokens)


def test_logprobs_of_a_chat(client: openai.OpenAI, server: Server) -> None:
    answer = client.chat.completions.create(
        model=server.model, messages=MESSAGES, max_tokens=3, logprobs=True, top_logprobs=2, temperature=0
    )
    assert answer.choices[0].logprobs is not None
    first = (answer.choices[0].logprobs.content or [])[0]
    assert (first.token, first.logprob) == (first.top_logprobs[0].token, first.top_logprobs[0].logprob)


def test_several_clients_at_once_all_get_the_same(client: openai.OpenAI, server: Server) -> None:
    answers: list[str | None] = []

    def ask() -> None:
        options: dict[str, Any] = {
            "model": server.model,
            "messages": MESSAGES,
            "max_tokens": 16,
            "temperature": 0,
        }
        answers.append(client.chat.completions.create(**options).choices[0].message.content)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6
    assert len(set(answers)) == 1


def test_models(client: openai.OpenAI, server: Server) -> None:
    assert [model.id for model in client.models.list()] == [server.model]
    assert client.models.retrieve(server.model).id == server.model


def test_errors_are_the_clients_own_classes(client: openai.OpenAI, server: Server) -> None:
    with pytest.raises(openai.NotFoundError) as not_found:
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert not_found.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model=server.model, messages=MESSAGES, max_tokens=0)
    assert bad.value.param == "max_tokens"


def test_a_prompt_beyond_the_context_is_refused(client: openai.OpenAI, server: Server) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model=server.model, prompt="word " * 200_000)
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize("character", [" ", "x", "\n"])
def test_a_run_that_no_tokenizer_takes_is_refused_and_the_server_lives(
    client: openai.OpenAI, server: Server, character: str
) -> None:
    with pytest.raises(openai.BadRequestError):
        client.completions.create(model=server.model, prompt=character * 3_000_000)
    assert client.completions.create(model=server.model, prompt="x", max_tokens=1)


def test_a_client_killed_in_mid_stream_frees_the_engine(
    client: openai.OpenAI, server: Server, slowly: dict[str, Any]
) -> None:
    stream = client.chat.completions.create(model=server.model, messages=MESSAGES, stream=True, **slowly)
    next(iter(stream))
    stream.close()
    line = server.wait_for(lambda line: line.get("error") == "client_gone")
    assert "finish_reason" not in line
    assert client.chat.completions.create(model=server.model, messages=MESSAGES, max_tokens=1)


def test_health_and_description(server: Server) -> None:
    assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}
    assert httpx.get(f"{server.url}/openapi.json").json()["openapi"] == "3.1.0"


def test_an_api_key(demo_artefact: Path) -> None:
    server = Server(demo_artefact, FIREBRICK_API_KEY="secret")
    with pytest.raises(openai.AuthenticationError):
        server.client().models.list()
    assert server.client(api_key="secret").models.list().data
    assert httpx.get(f"{server.url}/health").status_code == 200
    server.end()


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def secrets(moto_url: str) -> Iterator[SecretsManager]:
    with secrets_manager(moto_url) as made:
        yield made


def test_an_api_key_out_of_a_secret(demo_artefact: Path, secrets: SecretsManager) -> None:
    environ = secrets.environ(FIREBRICK_API_KEY_SECRET=NAME, **secrets.user(allowed=True))
    server = Server(demo_artefact, **environ)
    with pytest.raises(openai.AuthenticationError):
        server.client(api_key="second").models.list()
    assert server.client(api_key="first").models.list().data
    assert server.ready["api_key_ms"] > 0
    assert server.end() == (0, "")
    assert "first" not in json.dumps(server.lines)


def test_what_is_no_http_is_one_line_of_the_log(demo_artefact: Path) -> None:
    server = Server(demo_artefact)
    address = httpx.URL(server.url)
    with socket.create_connection((address.host, address.port or 0)) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert b"400" in connection.recv(100)
    assert server.wait_for(lambda line: line["event"] == "connections_refused")["malformed_http"] == 1
    assert server.end() == (0, "")


# ---------------------------------------------------------------- under Lambda


def adapter_headers(left_s: float) -> dict[str, str]:
    context = {"request_id": "8476a536-e9f4", "deadline": int((time.time() + left_s) * 1e3)}
    return {"x-amzn-lambda-context": json.dumps(context), "x-amzn-request-context": '{"http": {}}'}


@pytest.fixture(scope="module")
def in_lambda(demo_artefact: Path) -> Iterator[Server]:
    server = Server(demo_artefact, AWS_LAMBDA_FUNCTION_NAME="f", FIREBRICK_DEADLINE_MARGIN_MS="0")
    yield server
    assert server.end() == (0, "")


def stopped(server: Server) -> None:
    server.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, server.process.pid, os.WSTOPPED)


def test_a_deadline_that_passes_while_frozen_ends_the_stream_in_good_order(
    in_lambda: Server, slowly: dict[str, Any]
) -> None:
    client = in_lambda.client()
    options: dict[str, Any] = {"model": in_lambda.model, "messages": MESSAGES, "stream": True, **slowly}
    stream = client.chat.completions.create(**options, extra_headers=adapter_headers(left_s=1))
    next(stream)
    stopped(in_lambda)
    time.sleep(1)
    in_lambda.process.send_signal(signal.SIGCONT)
    last = list(stream)[-1]
    assert last.choices[0].finish_reason == "length"
    assert last.model_extra is not None
    assert last.model_extra["timings"]["stopped_by"] == "deadline"
    assert client.chat.completions.create(model=in_lambda.model, messages=MESSAGES, max_tokens=1)


def test_the_deadline_ends_the_real_prefill(in_lambda: Server) -> None:
    ids = [1] * (in_lambda.client().models.retrieve(in_lambda.model).model_extra or {})["context_length"]
    body = {"model": in_lambda.model, "prompt": ids[1:], "max_tokens": 1}
    headers = adapter_headers(left_s=0.02)
    answer = httpx.post(f"{in_lambda.url}/v1/completions", json=body, headers=headers, timeout=60)
    assert answer.status_code == 504
    assert httpx.get(f"{in_lambda.url}/health").status_code == 200


def test_a_connection_from_before_a_freeze_still_serves(in_lambda: Server) -> None:
    with httpx.Client(base_url=in_lambda.url) as client:
        client.get("/health")
        stopped(in_lambda)
        in_lambda.process.send_signal(signal.SIGCONT)
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize("disabled", ["", "true"])
def test_the_first_requests_metrics_have_the_cold_start(demo_artefact: Path, disabled: str) -> None:
    environ = {"AWS_LAMBDA_FUNCTION_NAME": "f", "POWERTOOLS_METRICS_DISABLED": disabled}
    server = Server(demo_artefact, POWERTOOLS_SERVICE_NAME="mine", **environ)
    for _ in range(2):
        assert server.client().completions.create(model=server.model, prompt="Once", max_tokens=3)
    assert server.end() == (0, "")
    lines = [line for line in server.lines if "_aws" in line]
    assert len(lines) == (0 if disabled else 2)
    for line, first in zip(lines, (True, False), strict=False):
        values = metrics_of(line)
        assert (line["service"], values["Answers"], values["CompletionTokens"]) == ("mine", 1, 3)
        assert ("ColdStart" in values) == first
        assert values.get("ReadyTime") == (server.ready["ready_ms"] if first else None)


# ---------------------------------------------------------------- the end


def test_sigterm_lets_a_stream_finish(demo_artefact: Path, slowly: dict[str, Any]) -> None:
    server = Server(demo_artefact)
    options = slowly | {"max_tokens": 100}
    stream = server.client().chat.completions.create(model=server.model, messages=MESSAGES, stream=True, **options)
    first = next(stream)
    server.process.terminate()
    chunks = [first, *stream]
    assert chunks[-1].choices[0].finish_reason == "length"
    assert server.end() == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_after_the_grace_period_a_stream_ends_with_an_error(
    demo_artefact: Path, slowly: dict[str, Any], number: int
) -> None:
    server = Server(demo_artefact, FIREBRICK_SHUTDOWN_GRACE_S="0")
    stream = server.client().chat.completions.create(model=server.model, messages=MESSAGES, stream=True, **slowly)
    next(stream)
    server.process.send_signal(number)
    with pytest.raises(openai.APIError, match="shutting down"):
        list(stream)
    assert server.end(signal.SIGTERM) == (0, "")


# ---------------------------------------------------------------- a start without a log


def test_a_server_whose_stdout_is_closed_answers(demo_artefact: Path) -> None:
    port = str(free_port())
    command = 'exec "$0" -m handler --model-dir "$1" --port "$2" <&- >&-'
    started = ["sh", "-c", command, sys.executable, str(demo_artefact), port]
    with subprocess.Popen(started, stderr=subprocess.PIPE, text=True) as process:
        answer = None
        while answer is None and process.poll() is None:
            with suppress(httpx.TransportError):
                answer = httpx.get(f"http://127.0.0.1:{port}/v1/models", timeout=60)
        process.terminate()
        assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0
    assert answer is not None
    assert answer.status_code == 200


# ---------------------------------------------------------------- a start that can't be


def failed_start(*arguments: str, **environ: str) -> str:
    """Run the server, which must refuse to start; return its line on stderr."""
    command = [sys.executable, "-m", "handler", *arguments]
    ended = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count("\n") == 1
    return ended.stderr


def test_a_port_in_use_is_named(server: Server, demo_artefact: Path) -> None:
    port = server.url.rsplit(":", 1)[1]
    assert port in failed_start("--model-dir", str(demo_artefact), "--port", port)


def test_a_port_that_is_taken_while_loading_is_named(demo_artefact: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in failed_start("--model-dir", str(demo_artefact), PORT=port)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "none") in failed_start(FIREBRICK_MODEL_DIR=str(tmp_path / "none"))


def test_a_bad_setting_is_named(demo_artefact: Path) -> None:
    line = failed_start("--model-dir", str(demo_artefact), FIREBRICK_QUEUE="many")
    assert "FIREBRICK_QUEUE" in line
    assert "many" in line


def unreachable(secrets: SecretsManager) -> dict[str, str]:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return {"AWS_ENDPOINT_URL_SECRETS_MANAGER": f"http://127.0.0.1:{closed.getsockname()[1]}"}


def unusable(secrets: SecretsManager) -> dict[str, str]:
    secrets.put("geheim\n")
    return {}


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (unreachable, "VPC endpoint"),
        (unusable, "holds no API key"),
        (lambda secrets: secrets.user(allowed=False), f"{NAME!r} in us-east-1 may not be read"),
        (lambda secrets: secrets.delete() or {}, f"{NAME!r} can't be found in us-east-1"),
        (lambda secrets: {"AWS_ACCESS_KEY_ID": ""}, "AWS_ACCESS_KEY_ID"),
        (lambda secrets: {"AWS_ENDPOINT_URL_SECRETS_MANAGER": "here"}, "AWS_ENDPOINT_URL_SECRETS_MANAGER"),
        (lambda secrets: {"FIREBRICK_API_KEY": "key"}, "FIREBRICK_API_KEY is set"),
    ],
)
def test_a_secret_that_cannot_be_read_is_named(
    demo_artefact: Path, secrets: SecretsManager, damage: Callable[[SecretsManager], dict[str, str]], named: str
) -> None:
    environ = secrets.environ(FIREBRICK_API_KEY_SECRET=NAME) | damage(secrets)
    line = failed_start("--model-dir", str(demo_artefact), PORT="0", **environ)
    assert named in line
    assert "geheim" not in line


@pytest.mark.parametrize(
    "name", ["model.safetensors", "model.onnx", "tokenizer.kit", "firebrick.json", "manifest.json"]
)
def test_a_flipped_byte_is_found(demo_artefact: Path, tmp_path: Path, name: str) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(demo_artefact, damaged)
    content = bytearray((damaged / name).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (damaged / name).write_bytes(content)
    assert name in failed_start("--model-dir", str(damaged))


# ---------------------------------------------------------------- embeddings


def test_embeddings_as_openai_python_asks_for_them(client: openai.OpenAI, server: Server) -> None:
    texts = ["What is a cold start?", "Tell me a story.", "x"]
    by_default = client.embeddings.create(model=server.model, input=texts)  # base64, which the client decodes
    as_numbers = client.embeddings.create(model=server.model, input=texts, encoding_format="float")
    assert [one.index for one in by_default.data] == [0, 1, 2]
    assert [one.embedding for one in by_default.data] == [
        [float(np.float32(number)) for number in one.embedding] for one in as_numbers.data
    ]
    for one in by_default.data:
        assert np.linalg.norm(one.embedding) == pytest.approx(1, abs=1e-5)
    assert by_default.usage.prompt_tokens == by_default.usage.total_tokens > 3


def test_an_embedding_in_a_batch_is_as_alone_and_shorter_if_asked(client: openai.OpenAI, server: Server) -> None:
    both = client.embeddings.create(model=server.model, input=["a", "What is a cold start?"], dimensions=16)
    alone = client.embeddings.create(model=server.model, input="What is a cold start?")
    assert both.data[1].embedding == pytest.approx(
        np.array(alone.data[0].embedding[:16]) / np.linalg.norm(alone.data[0].embedding[:16]), abs=1e-6
    )


def test_embeddings_beside_a_chat(server: Server) -> None:
    client = server.client()
    stream = client.chat.completions.create(model=server.model, messages=MESSAGES, stream=True, temperature=0)
    vectors = client.embeddings.create(model=server.model, input=["a" * 500] * 4)
    assert len({tuple(one.embedding) for one in vectors.data}) == 1
    assert words(stream)
