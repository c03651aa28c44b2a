"""An endpoint whose errors don't look as OpenAI's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from handler.api.chat import CHAT
from handler.api.completions import COMPLETIONS
from handler.api.endpoint import Answer
from handler.errors import ApiError
from tests.handler.doubles import ScriptedEngine, serving

QUESTION = {"model": "bytes", "messages": [{"role": "user", "content": "hi"}]}


def refusal(error: ApiError) -> dict[str, object]:
    return {"type": "error", "error": {"type": error.code}}


def failure(error: ApiError, answer: Answer) -> bytes:
    return f"event: error\ndata: {error.code}\n\n".encode()


@pytest.fixture(autouse=True)
def chats_have_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    own = replace(CHAT, refusal=refusal, failure=failure)
    monkeypatch.setattr("handler.http.app.ENDPOINTS", (own, COMPLETIONS))


def test_a_refused_request_has_the_endpoints_form() -> None:
    with serving() as server:
        answer = server.client.post(CHAT.path, json={})
    assert answer.status_code == 400
    assert answer.json() == {"type": "error", "error": {"type": "missing_required_parameter"}}


def test_so_has_a_wrong_key_and_a_wrong_method() -> None:
    with serving(api_key="secret") as server:
        answers = [server.client.post(CHAT.path), server.client.get(CHAT.path, headers={"x-api-key": "secret"})]
    assert [answer.json()["error"]["type"] for answer in answers] == ["invalid_api_key", "method_not_allowed"]


def test_another_endpoint_keeps_openais_form() -> None:
    with serving() as server:
        answer = server.client.post(COMPLETIONS.path, json={})
    assert answer.json()["error"]["code"] == "missing_required_parameter"


def test_a_broken_stream_ends_with_the_endpoints_event() -> None:
    with serving(ScriptedEngine(fail_after=3)) as server:
        answer = server.client.post(CHAT.path, json=QUESTION | {"stream": True})
    assert answer.text.endswith("event: error\ndata: generation_failed\n\n")
