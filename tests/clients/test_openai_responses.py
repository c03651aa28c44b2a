"""/v1/responses by OpenAI's own client, against the real process with the demo model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import FunctionToolParam, Response, ResponseInputParam, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from tests.handler.api.sse import parsed
from tests.server import Server

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
QUESTION = "What is a cold start?"
ADD: FunctionToolParam = {
    "type": "function",
    "name": "add",
    "description": "Add two numbers.",
    "parameters": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
    "strict": True,
}


class Customer(BaseModel):
    name: str
    city: str


@pytest.fixture(scope="module")
def server(demo_artefact: Path) -> Iterator[Server]:
    server = Server(demo_artefact, FIREBRICK_MAX_TOKENS="200")
    yield server
    assert server.end() == (0, "")


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[openai.OpenAI]:
    with server.client() as client:
        yield client


def test_an_answer_is_complete_by_the_clients_types(client: openai.OpenAI, server: Server) -> None:
    answer = client.responses.create(model=server.model, input=QUESTION, temperature=0)
    Response.model_validate(answer.to_dict(), strict=True)
    assert answer.output_text
    assert answer.status == "completed"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


def test_a_stream_says_the_same_in_valid_events(client: openai.OpenAI, server: Server) -> None:
    whole = client.responses.create(model=server.model, input=QUESTION, temperature=0)
    body = {"model": server.model, "input": QUESTION, "temperature": 0, "stream": True}
    for _, data in parsed(httpx.post(f"{server.url}/v1/responses", json=body, timeout=60).content):
        EVENT.validate_python(data, strict=True)
    with client.responses.stream(model=server.model, input=QUESTION, temperature=0) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text == final.output_text == whole.output_text


def test_an_answer_that_was_cut_off_is_incomplete(client: openai.OpenAI, server: Server) -> None:
    answer = client.responses.create(model=server.model, input=QUESTION, max_output_tokens=2)
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    stream = client.responses.create(model=server.model, input=QUESTION, max_output_tokens=2, stream=True)
    assert list(stream)[-1].type == "response.incomplete"


def test_an_object_is_parsed(client: openai.OpenAI, server: Server) -> None:
    question = "Extract name and city as JSON.\nHello, my name is Mara Weston and I live in Tessin."
    answer = client.responses.parse(model=server.model, input=question, text_format=Customer, temperature=0)
    assert isinstance(answer.output_parsed, Customer)
    with client.responses.stream(model=server.model, input=question, text_format=Customer, temperature=0) as stream:
        assert stream.get_final_response().output_parsed == answer.output_parsed


def test_a_tool_is_called_and_its_result_taken(client: openai.OpenAI, server: Server) -> None:
    asked: ResponseInputParam = [{"role": "user", "content": "What is 347 + 285?"}]
    first = client.responses.create(model=server.model, input=asked, tools=[ADD], tool_choice="required", temperature=0)
    call = first.output[0]
    assert call.type == "function_call"
    assert set(json.loads(call.arguments)) == {"a", "b"}
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "632"}
    history: Any = [*asked, call.to_dict(), result]
    second = client.responses.create(model=server.model, input=history, tools=[ADD], tool_choice="none")
    assert second.output[0].type == "message"


def test_a_streamed_call_is_the_whole_one(client: openai.OpenAI, server: Server) -> None:
    options: dict[str, Any] = {"tools": [ADD], "tool_choice": "required", "temperature": 0}
    whole = client.responses.create(model=server.model, input="What is 347 + 285?", **options).output[0]
    with client.responses.stream(model=server.model, input="What is 347 + 285?", **options) as stream:
        deltas = [event.delta for event in stream if event.type == "response.function_call_arguments.delta"]
    assert whole.type == "function_call"
    assert "".join(deltas) == whole.arguments


def test_scores_are_there_if_they_are_included(client: openai.OpenAI, server: Server) -> None:
    answer = client.responses.create(
        model=server.model,
        input=QUESTION,
        max_output_tokens=3,
        temperature=0,
        top_logprobs=2,
        include=["message.output_text.logprobs"],
    )
    message = answer.output[0]
    assert message.type == "message"
    assert message.content[0].type == "output_text"
    [first, *_] = message.content[0].logprobs or []
    assert (first.token, first.logprob) == (first.top_logprobs[0].token, first.top_logprobs[0].logprob)


def test_tokens_are_counted(client: openai.OpenAI, server: Server) -> None:
    counted = client.responses.input_tokens.count(model=server.model, input=QUESTION)
    answer = client.responses.create(model=server.model, input=QUESTION, max_output_tokens=1)
    assert counted.input_tokens == (answer.usage and answer.usage.input_tokens)


def test_nothing_is_stored(client: openai.OpenAI, server: Server) -> None:
    answer = client.responses.create(model=server.model, input=QUESTION, max_output_tokens=1)
    for ask in (client.responses.retrieve, client.responses.cancel, client.responses.delete):
        with pytest.raises(openai.NotFoundError, match="nothing is stored"):
            ask(answer.id)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=server.model, input=QUESTION, previous_response_id=answer.id)
    assert caught.value.param == "previous_response_id"
