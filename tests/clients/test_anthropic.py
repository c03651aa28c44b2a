"""/v1/messages by Anthropic's own client, against the real process with the demo model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest
from anthropic.types import Message, MessageParam, RawMessageStreamEvent, ToolParam
from pydantic import BaseModel, TypeAdapter

from tests.handler.api.sse import parsed
from tests.server import Server

EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
QUESTION: list[MessageParam] = [{"role": "user", "content": "What is a cold start?"}]
SUM: list[MessageParam] = [{"role": "user", "content": "What is 347 + 285?"}]
GREEDY = {"temperature": 0}  # the client has no argument for it any more
ADD: ToolParam = {
    "name": "add",
    "description": "Add two numbers.",
    "input_schema": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}


class Customer(BaseModel):
    name: str
    city: str


@pytest.fixture(scope="module")
def server(demo_artefact: Path) -> Iterator[Server]:
    server = Server(demo_artefact, FIREBRICK_API_KEY="secret")
    yield server
    assert server.end() == (0, "")


def client_of(server: Server, api_key: str = "secret") -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=server.url, api_key=api_key, max_retries=0)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[anthropic.Anthropic]:
    with client_of(server) as client:
        yield client


def test_an_answer_is_complete_by_the_clients_types(client: anthropic.Anthropic, server: Server) -> None:
    answer = client.messages.create(model=server.model, max_tokens=100, messages=QUESTION, extra_body=GREEDY)
    Message.model_validate(answer.to_dict(), strict=True)
    assert (answer.content[0].type, answer.stop_reason) == ("text", "end_turn")
    assert answer.usage.output_tokens > 0
    assert answer.id.endswith(answer._request_id or "none")


def test_a_stream_says_the_same(client: anthropic.Anthropic, server: Server) -> None:
    options: dict[str, Any] = {"model": server.model, "max_tokens": 100, "messages": QUESTION, "extra_body": GREEDY}
    whole = client.messages.create(**options)
    with client.messages.stream(**options) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert whole.content[0].type == "text"
    assert text == stream.get_final_text() == whole.content[0].text
    assert final.stop_reason == whole.stop_reason


def test_events_are_valid_by_the_clients_types(server: Server) -> None:
    body = {"model": server.model, "max_tokens": 5, "messages": QUESTION, "stream": True}
    headers = {"x-api-key": "secret", "anthropic-version": "2023-06-01"}
    for name, data in parsed(httpx.post(f"{server.url}/v1/messages", json=body, headers=headers, timeout=60).content):
        if name != "ping":
            EVENT.validate_python(data, strict=True)


def test_an_answer_that_the_client_has_begun_goes_on(client: anthropic.Anthropic, server: Server) -> None:
    options: dict[str, Any] = {"model": server.model, "max_tokens": 100, "extra_body": GREEDY}
    whole = client.messages.create(**options, messages=QUESTION).content[0]
    begun: MessageParam = {"role": "assistant", "content": "A cold start is"}
    rest = client.messages.create(**options, messages=[*QUESTION, begun]).content[0]
    assert whole.type == rest.type == "text"
    assert whole.text == "A cold start is" + rest.text


def test_why_it_stopped(client: anthropic.Anthropic, server: Server) -> None:
    options: dict[str, Any] = {"model": server.model, "messages": QUESTION, "extra_body": GREEDY}
    assert client.messages.create(**options, max_tokens=2).stop_reason == "max_tokens"
    stopped = client.messages.create(**options, max_tokens=100, stop_sequences=["never that", " "])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", " ")


def test_an_object_is_parsed(client: anthropic.Anthropic, server: Server) -> None:
    question = "Extract name and city as JSON.\nHello, my name is Mara Weston and I live in Tessin."
    messages: list[MessageParam] = [{"role": "user", "content": question}]
    answer = client.messages.parse(
        model=server.model, max_tokens=200, messages=messages, output_format=Customer, extra_body=GREEDY
    )
    assert isinstance(answer.parsed_output, Customer)


def test_a_tool_is_used_and_its_result_taken(client: anthropic.Anthropic, server: Server) -> None:
    first = client.messages.create(
        model=server.model,
        max_tokens=200,
        messages=SUM,
        tools=[ADD],
        tool_choice={"type": "tool", "name": "add"},
        extra_body=GREEDY,
    )
    assert first.stop_reason == "tool_use"
    use = first.content[-1]
    assert use.type == "tool_use"
    assert set(use.input) == {"a", "b"}
    result: MessageParam = {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "632"}],
    }
    second = client.messages.create(
        model=server.model,
        max_tokens=50,
        messages=[*SUM, {"role": "assistant", "content": first.content}, result],
        tools=[ADD],
        tool_choice={"type": "none"},
    )
    assert [block.type for block in second.content] == ["text"]


def test_a_streamed_use_is_the_whole_one(client: anthropic.Anthropic, server: Server) -> None:
    options: dict[str, Any] = {
        "model": server.model,
        "max_tokens": 200,
        "messages": SUM,
        "tools": [ADD],
        "tool_choice": {"type": "any"},
        "extra_body": GREEDY,
    }
    whole = client.messages.create(**options).content[-1]
    with client.messages.stream(**options) as stream:
        use = stream.get_final_message().content[-1]
    assert whole.type == use.type == "tool_use"
    assert (use.name, use.input) == (whole.name, whole.input)


def test_tokens_are_counted(client: anthropic.Anthropic, server: Server) -> None:
    options: dict[str, Any] = {"model": server.model, "messages": QUESTION, "system": "Be brief.", "tools": [ADD]}
    counted = client.messages.count_tokens(**options)
    usage = client.messages.create(**options, max_tokens=1).usage
    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_errors_are_the_clients_own_classes(client: anthropic.Anthropic, server: Server) -> None:
    options: dict[str, Any] = {"max_tokens": 1, "messages": QUESTION}
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="claude", **options)
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        client.messages.create(model=server.model, extra_body={"temperature": 2}, **options)
    with client_of(server, "wrong") as stranger, pytest.raises(anthropic.AuthenticationError):
        stranger.messages.create(model=server.model, **options)


def test_the_clients_own_loop_of_tools_goes_to_its_end(client: anthropic.Anthropic, server: Server) -> None:
    calls: list[tuple[int, int]] = []

    @anthropic.beta_tool
    def add(a: int, b: int) -> str:
        """Add two numbers."""
        calls.append((a, b))
        return str(a + b)

    loop = client.beta.messages.tool_runner(
        model=server.model,
        max_tokens=100,
        messages=[{"role": "user", "content": "What is 347 + 285?"}],
        tools=[add],
        extra_body=GREEDY,
    )
    assert loop.until_done().stop_reason == "end_turn"
    assert calls == [(347, 285)]
