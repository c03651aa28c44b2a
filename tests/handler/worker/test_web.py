"""The worker behind a function URL: what the server would answer, as a whole."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from handler.deadline import Deadline
from handler.settings import Settings
from handler.worker.events import HttpEvent, read_event
from handler.worker.web import Web, make_web
from tests.handler.doubles import TEMPLATE, ScriptedEngine, byte_model
from tests.handler.emf import metrics_of
from tests.handler.worker.messages import http

CHAT = "/v1/chat/completions"
QUESTION = {"messages": [{"role": "user", "content": "hi"}], "model": "bytes"}


Make = Callable[..., Web]


@pytest.fixture
def web() -> Iterator[Make]:
    with ExitStack() as made:

        def make(engine: ScriptedEngine | None = None, context_length: int = 200, **settings: object) -> Web:
            chosen = Settings(Path("."), **settings)  # type: ignore[arg-type]  # names and types are Settings' own
            model = byte_model(engine or ScriptedEngine(), context_length, TEMPLATE)
            return made.enter_context(closing(make_web(model, chosen, {}, "worker")))

        yield make


def answer(web: Web, event: dict[str, Any], left_s: float = 60) -> tuple[int, dict[str, str], str]:
    read = read_event(event)
    assert isinstance(read, HttpEvent)
    response = web.answer(read, "request-1", Deadline(time.time() + left_s))
    assert response["isBase64Encoded"] is False
    return response["statusCode"], response["headers"], response["body"]


def ask(**members: Any) -> dict[str, Any]:
    return http("POST", CHAT, json.dumps(QUESTION | members))


def test_a_chat_is_answered_as_by_the_server(web: Make) -> None:
    status, headers, body = answer(web(), ask())
    assert (status, headers["content-type"], headers["x-request-id"]) == (200, "application/json", "request-1")
    assert json.loads(body)["choices"][0]["message"]["content"] == "hello world"
    assert json.loads(body)["id"] == "chatcmpl-request-1"


def test_one_web_answers_one_event_after_another(web: Make) -> None:
    engine = ScriptedEngine()
    same = web(engine)
    assert [answer(same, ask())[0] for _ in range(3)] == [200] * 3
    assert engine.closed == 3


def test_a_body_in_base64_is_read(web: Make) -> None:
    event = ask()
    event |= {"body": base64.b64encode(event["body"].encode()).decode(), "isBase64Encoded": True}
    assert answer(web(), event)[0] == 200


def test_a_stream_comes_as_a_whole(web: Make) -> None:
    status, headers, body = answer(web(), ask(stream=True))
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert body.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/models/bytes", "/openapi.json"])
def test_what_is_not_an_endpoint_is_there_too(web: Make, path: str) -> None:
    assert answer(web(), http("GET", path))[0] == 200


@pytest.mark.parametrize(
    ("event", "status", "code"),
    [
        (http("GET", "/nowhere"), 404, "not_found"),
        (http("GET", CHAT), 405, "method_not_allowed"),
        (http("POST", CHAT), 400, "malformed_json"),
        (ask(temperature="hot"), 400, "invalid_type"),
        (ask(model="other"), 404, "model_not_found"),
    ],
)
def test_errors_are_statuses(web: Make, event: dict[str, Any], status: int, code: str) -> None:
    got, _, body = answer(web(), event)
    assert (got, json.loads(body)["error"]["code"]) == (status, code)


def test_a_length_of_thousands_of_digits_is_a_413(web: Make) -> None:
    event = http("POST", CHAT, json.dumps(QUESTION), **{"content-length": "9" * 5000})
    assert answer(web(), event)[0] == 413


def test_a_broken_engine_is_a_500(web: Make) -> None:
    assert answer(web(ScriptedEngine(fail_after=1)), ask())[0] == 500


@pytest.mark.parametrize(("key", "status"), [("secret", 200), ("wrong", 401)])
def test_the_key_is_asked_for(web: Make, key: str, status: int) -> None:
    event = http("POST", CHAT, json.dumps(QUESTION), authorization=f"Bearer {key}")
    assert answer(web(api_key="secret"), event)[0] == status


def test_the_deadline_ends_an_answer_in_good_order(web: Make) -> None:
    _, _, body = answer(web(ScriptedEngine("x" * 100, hold_after=3)), ask(), left_s=2.5)
    assert json.loads(body)["timings"]["stopped_by"] == "deadline"


def test_no_token_before_the_deadline_is_a_504(web: Make) -> None:
    engine = ScriptedEngine(hold_after=0)
    assert answer(web(engine), ask(stream=True), left_s=0.5)[0] == 504
    assert engine.closed == 1


def test_a_client_cannot_write_the_adapters_headers(web: Make) -> None:
    event = http("GET", "/health", **{"x-amzn-lambda-context": json.dumps({"request_id": "theirs", "deadline": 1})})
    assert answer(web(), event)[1]["x-request-id"] == "request-1"


def test_a_response_that_lambda_would_not_take_is_refused(web: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.worker.web.LARGEST_RESPONSE", 2000)
    # Within the limit it is once JSON, and beyond it as JSON in JSON.
    status, _, body = answer(web(ScriptedEngine('"' * 600), 2000), ask())
    assert (status, json.loads(body)["error"]["code"]) == (400, "response_too_large")


def test_the_log_has_the_request_and_its_metrics(web: Make, capsys: pytest.CaptureFixture[str]) -> None:
    answer(web(), ask())
    request, metrics = map(json.loads, capsys.readouterr().out.splitlines())
    assert (request["path"], request["request_id"]) == (CHAT, "request-1")
    assert (metrics["service"], metrics_of(metrics)["Answers"]) == ("worker", 1)
