from __future__ import annotations

from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from handler.api.responses.answer import ResponseAnswer
from handler.api.responses.request import parse_response
from handler.errors import GenerationFailed, QueueFull
from handler.text.deltas import CallDelta, Delta, ScoredToken, joined
from handler.text.meter import Meter
from tests.handler.api.answers import ENVELOPE
from tests.handler.api.requests import SERVED
from tests.handler.api.sse import parsed, streamed

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
WORDS = [Delta("he"), Delta(""), Delta("llo"), Delta("", finish_reason="stop")]
CALLS = [
    Delta("", reasoning="hm", thoughts=1),
    Delta("Now", calls=(CallDelta(0, "call_1", "add"),)),
    Delta("", calls=(CallDelta(0, arguments='{"a"'),)),
    Delta("", calls=(CallDelta(0, arguments=": 1}"), CallDelta(1, "call_2", "sub", "{}"))),
    Delta("", finish_reason="tool_calls"),
]
SCORE = ScoredToken(b"h", -0.5, ((b"h", -0.5), (b"c", float("-inf"))), 0)


def answer(**members: Any) -> ResponseAnswer:
    return parse_response({"model": "name", "input": "hi"} | members, SERVED).answer(ENVELOPE, Meter(3, 0.0))


def kinds(events: list[Any]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def timeless(response: Any) -> Any:
    return response | {"completed_at": None, "timings": None}


@pytest.mark.parametrize(
    "deltas", [WORDS, CALLS, WORDS[-1:], [Delta("a", (SCORE,)), Delta("", finish_reason="length")]]
)
def test_streamed_and_whole_are_the_same_and_valid_by_openais_types(deltas: list[Delta]) -> None:
    events = streamed(answer(), deltas)
    for event in events:
        EVENT.validate_python(event, strict=True)
    whole = answer().whole(joined(deltas))
    Response.model_validate(whole, strict=True)
    assert timeless(events[-1]["response"]) == timeless(whole)
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == whole["output"]


def test_the_usage_tells_how_many_tokens_were_thoughts() -> None:
    usage = answer().whole(joined(CALLS))["usage"]
    assert usage["output_tokens_details"] == {"reasoning_tokens": 1}


def test_a_message_in_events() -> None:
    events = streamed(answer(), WORDS)
    assert kinds(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(10))
    assert [event["delta"] for event in events if "delta" in event] == ["he", "llo"]
    assert events[0]["response"]["status"] == "in_progress"
    assert events[6]["text"] == "hello"
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "hello"


def test_thoughts_words_and_calls_are_items_behind_each_other() -> None:
    events = streamed(answer(), CALLS)
    assert kinds(events)[2:] == [
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    items = events[-1]["response"]["output"]
    assert [item["type"] for item in items] == ["reasoning", "message", "function_call", "function_call"]
    assert [item.get("call_id") for item in items] == [None, None, "call_1", "call_2"]
    assert [item.get("arguments") for item in items] == [None, None, '{"a": 1}', "{}"]
    assert len({item["id"] for item in items}) == 4
    places = [(event["output_index"], event.get("item_id")) for event in events if "item_id" in event]
    assert places == sorted(places)


def test_what_was_cut_off_is_incomplete() -> None:
    cut = [*CALLS[:3], Delta("", finish_reason="length")]
    response = answer().whole(joined(cut))
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert [item["status"] for item in response["output"]] == ["completed", "completed", "incomplete"]
    assert kinds(streamed(answer(), cut))[-1] == "incomplete"


def test_who_says_nothing_sends_an_empty_message() -> None:
    [item] = answer().whole(joined(WORDS[-1:]))["output"]
    assert (item["type"], item["content"][0]["text"]) == ("message", "")


def test_scores_come_with_their_text() -> None:
    events = streamed(answer(), [Delta("h", (SCORE,)), Delta("i", (SCORE,)), Delta("", finish_reason="stop")])
    assert [len(event["logprobs"]) for event in events if "delta" in event] == [1, 1]
    [token, _] = events[-1]["response"]["output"][0]["content"][0]["logprobs"]
    assert (token["token"], token["bytes"], token["top_logprobs"][1]["logprob"]) == ("h", [104], -9999.0)


def test_the_answer_repeats_its_request() -> None:
    response = answer(
        instructions="Be brief.",
        max_output_tokens=7,
        metadata={"a": "b"},
        tools=[{"type": "function", "name": "add", "parameters": {"type": "object"}}],
        tool_choice="required",
        parallel_tool_calls=False,
        text={"format": {"type": "json_object"}},
        temperature=0.5,
    ).whole(joined(WORDS))
    assert (response["instructions"], response["max_output_tokens"]) == ("Be brief.", 7)
    assert (response["metadata"], response["temperature"], response["top_p"]) == ({"a": "b"}, 0.5, 0.9)
    assert (response["tool_choice"], response["parallel_tool_calls"]) == ("required", False)
    assert response["tools"][0] | {"name": "add", "strict": False} == response["tools"][0]
    assert response["text"] == {"format": {"type": "json_object"}, "verbosity": "medium"}
    Response.model_validate(response, strict=True)


@pytest.mark.parametrize(
    ("error", "code"), [(GenerationFailed(), "server_error"), (QueueFull(1, 1), "rate_limit_exceeded")]
)
def test_a_failure_ends_the_stream_with_a_failed_response(error: Any, code: str) -> None:
    begun = answer()
    sent = b"".join([*begun.events(WORDS[0]), begun.failed(error)])
    events = [data for _, data in parsed(sent)]
    for event in events:
        EVENT.validate_python(event, strict=True)
    told, failed = events[-2:]
    assert (told["type"], told["code"], told["message"]) == ("error", error.code, error.message)
    assert (failed["type"], failed["response"]["error"]["code"]) == ("response.failed", code)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
