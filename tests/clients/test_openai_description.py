"""Answers, events and errors of the real process, held against OpenAI's own description of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from tests.clients.openai_schemas import STORED
from tests.server import Server

MESSAGES = [{"role": "user", "content": "What is a cold start?"}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": SCHEMA}}]
FORM = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}}
CHATS: Mapping[str, dict[str, Any]] = {
    "text": {},
    "scores": {"logprobs": True, "top_logprobs": 2},
    "object": {"response_format": FORM},
    "calls": {"tools": TOOLS, "tool_choice": "required"},
    "usage": {"stream_options": {"include_usage": True}},
}
RESPONSES: Mapping[str, dict[str, Any]] = {
    "text": {},
    "scores": {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
    "object": {"text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA, "strict": True}}},
    "calls": {"tools": [{"type": "function", "name": "add", "parameters": SCHEMA}], "tool_choice": "required"},
}


@pytest.fixture(scope="module")
def client(demo_artefact: Path) -> Iterator[httpx.Client]:
    server = Server(demo_artefact)
    with httpx.Client(base_url=server.url, timeout=120) as client:
        yield client
    server.end()


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator({**stored, "$ref": f"#/components/schemas/{name}"})


def events(client: httpx.Client, path: str, body: dict[str, Any]) -> Iterator[Any]:
    text = client.post(path, json={**body, "stream": True}).raise_for_status().text
    for line in text.splitlines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


@pytest.mark.parametrize("kind", CHATS)
def test_chats(client: httpx.Client, kind: str) -> None:
    body = {"messages": MESSAGES, "max_tokens": 40, **CHATS[kind]}
    chunks = list(events(client, "/v1/chat/completions", body))
    assert chunks
    for chunk in chunks:
        validator("CreateChatCompletionStreamResponse").validate(chunk)
    body.pop("stream_options", None)
    answer = client.post("/v1/chat/completions", json=body).raise_for_status().json()
    validator("CreateChatCompletionResponse").validate(answer)


@pytest.mark.parametrize("extra", [{}, {"logprobs": 2}, {"n": 2}], ids=str)
def test_completions(client: httpx.Client, extra: dict[str, Any]) -> None:
    body = {"prompt": "Hello", "max_tokens": 4, **extra}
    validator("CreateCompletionResponse").validate(client.post("/v1/completions", json=body).raise_for_status().json())
    for chunk in events(client, "/v1/completions", body):
        for choice in chunk["choices"]:
            # The description knows no answer that goes on; OpenAI's own chunks have a null there.
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        validator("CreateCompletionResponse").validate(chunk)


@pytest.mark.parametrize("kind", RESPONSES)
def test_responses(client: httpx.Client, kind: str) -> None:
    body = {"input": "What is a cold start?", "max_output_tokens": 40, **RESPONSES[kind]}
    validator("Response").validate(client.post("/v1/responses", json=body).raise_for_status().json())
    for event in events(client, "/v1/responses", body):
        validator("ResponseStreamEvent").validate(event)


def test_embeddings(client: httpx.Client) -> None:
    answer = client.post("/v1/embeddings", json={"input": ["a", "b"]}).raise_for_status().json()
    validator("CreateEmbeddingResponse").validate(answer)


def test_models(client: httpx.Client) -> None:
    validator("ListModelsResponse").validate(client.get("/v1/models").json())


@pytest.mark.parametrize("body", [{}, {"messages": []}, {"messages": MESSAGES, "n": "x"}], ids=str)
def test_errors(client: httpx.Client, body: dict[str, Any]) -> None:
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400
    validator("ErrorResponse").validate(answer.json())
