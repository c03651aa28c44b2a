"""/v1/responses over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.handler.api.sse import parsed
from tests.handler.doubles import ScriptedEngine, serving

PATH = "/v1/responses"
QUESTION: dict[str, Any] = {"model": "bytes", "input": "hi"}


def test_a_stream_says_what_the_whole_says() -> None:
    with serving(ScriptedEngine(cached_tokens=2)) as server:
        whole = server.client.post(PATH, json=QUESTION).json()
        events = parsed(server.client.post(PATH, json=QUESTION | {"stream": True}).content)
    assert whole["id"].startswith("resp_")
    assert whole["output"][0]["content"][0]["text"] == "hello world"
    assert whole["usage"]["input_tokens_details"]["cached_tokens"] == 2
    assert whole["usage"]["total_tokens"] == whole["usage"]["input_tokens"] + 11
    name, last = events[-1]
    assert (name, last["response"]["usage"]) == ("response.completed", whole["usage"])


def test_an_engine_that_breaks_ends_the_stream_with_a_failed_response() -> None:
    with serving(ScriptedEngine(fail_after=3)) as server:
        events = parsed(server.client.post(PATH, json=QUESTION | {"stream": True}).content)
    assert [name for name, _ in events[-2:]] == ["error", "response.failed"]


def test_before_the_first_token_an_error_is_a_status() -> None:
    with serving(ScriptedEngine(fail_after=0)) as server:
        assert server.client.post(PATH, json=QUESTION | {"stream": True}).status_code == 500


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items")]
)
def test_nothing_is_stored(method: str, path: str) -> None:
    with serving() as server:
        answer = server.client.request(method, f"{PATH}/resp_1{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "nothing_stored")
    assert "'resp_1'" in answer.json()["error"]["message"]


def test_the_tokens_of_a_prompt_are_counted() -> None:
    with serving() as server:
        counted = server.client.post(f"{PATH}/input_tokens", json=QUESTION).json()
        whole = server.client.post(PATH, json=QUESTION).json()
    assert counted == {"object": "response.input_tokens", "input_tokens": whole["usage"]["input_tokens"]}


def test_a_prompt_beyond_the_context_is_the_inputs_fault() -> None:
    with serving() as server:
        error = server.client.post(PATH, json=QUESTION | {"input": "x" * 300}).json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "input")
