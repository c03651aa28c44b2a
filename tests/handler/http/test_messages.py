"""/v1/messages over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.handler.api.sse import parsed
from tests.handler.doubles import ScriptedEngine, serving

PATH = "/v1/messages"
QUESTION: dict[str, Any] = {"model": "bytes", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}


def test_a_stream_says_what_the_whole_says() -> None:
    with serving(ScriptedEngine(cached_tokens=2)) as server:
        whole = server.client.post(PATH, json=QUESTION).json()
        events = [data for _, data in parsed(server.client.post(PATH, json=QUESTION | {"stream": True}).content)]
    assert whole["id"].startswith("msg_")
    assert (whole["content"], whole["stop_reason"]) == ([{"type": "text", "text": "hello world"}], "end_turn")
    assert whole["usage"]["cache_read_input_tokens"] == 2
    texts = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(texts) == "hello world"
    assert events[0]["message"]["usage"]["cache_read_input_tokens"] == 2
    assert events[-2]["usage"] == whole["usage"]


def test_the_stop_sequence_that_came_is_told() -> None:
    with serving() as server:
        whole = server.client.post(PATH, json=QUESTION | {"stop_sequences": ["x", "o w"]}).json()
    assert whole["content"][0]["text"] == "hell"
    assert (whole["stop_reason"], whole["stop_sequence"]) == ("stop_sequence", "o w")


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({}, 400, "invalid_request_error"),
        (QUESTION | {"model": "other"}, 404, "not_found_error"),
        (QUESTION | {"system": "x" * 1000}, 413, "request_too_large"),
    ],
)
def test_errors_have_anthropics_form(body: dict[str, Any], status: int, kind: str) -> None:
    with serving(max_body=900) as server:
        answer = server.client.post(PATH, json=body)
    assert (answer.status_code, answer.json()["type"], answer.json()["error"]["type"]) == (status, "error", kind)
    assert answer.json()["request_id"] == answer.headers["request-id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("headers", [{"x-api-key": "secret"}, {"authorization": "Bearer secret"}])
def test_a_key_comes_in_either_header(headers: dict[str, str]) -> None:
    with serving(api_key="secret") as server:
        refused = server.client.post(PATH, json=QUESTION, headers={"x-api-key": "wrong"})
        answered = server.client.post(PATH, json=QUESTION, headers=headers | {"anthropic-version": "2023-06-01"})
    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "authentication_error")
    assert answered.status_code == 200


def test_an_engine_that_breaks_ends_the_stream_with_an_error() -> None:
    with serving(ScriptedEngine(fail_after=3)) as server:
        answer = server.client.post(PATH, json=QUESTION | {"stream": True})
    name, body = parsed(answer.content)[-1]
    assert (name, body["error"]["type"], body["request_id"]) == ("error", "api_error", answer.headers["request-id"])


def test_the_tokens_of_messages_are_counted() -> None:
    body = {name: value for name, value in QUESTION.items() if name != "max_tokens"}
    with serving() as server:
        counted = server.client.post(f"{PATH}/count_tokens", json=body)
        whole = server.client.post(PATH, json=QUESTION).json()
        refused = server.client.post(f"{PATH}/count_tokens", json={})
    assert counted.json() == {"input_tokens": whole["usage"]["input_tokens"]}
    assert (refused.status_code, refused.json()["type"]) == (400, "error")
