from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from handler.api.messages.answer import MessageAnswer
from handler.errors import GenerationFailed
from handler.text.deltas import CallDelta, Delta, joined
from handler.text.meter import Meter
from tests.handler.api.answers import ENVELOPE
from tests.handler.api.sse import parsed, streamed

EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
WORDS = [Delta("he"), Delta(""), Delta("llo"), Delta("", finish_reason="stop")]
CALLS = [
    Delta("", reasoning="hm"),
    Delta("Now", calls=(CallDelta(0, "call_1", "add"),)),
    Delta("", calls=(CallDelta(0, arguments='{"a"'),)),
    Delta("", calls=(CallDelta(0, arguments=": 1}"), CallDelta(1, "call_2", "sub", "{}"))),
    Delta("", finish_reason="tool_calls"),
]


def answer(cached: int = 0) -> MessageAnswer:
    return MessageAnswer(ENVELOPE, Meter(3, 0.0, completion_tokens=5, cached_tokens=cached))


def folded(events: list[Any]) -> Any:
    """A message, put together as Anthropic's clients do."""
    message: Any = None
    for event in events:
        if event["type"] == "message_start":
            message = event["message"]
        elif event["type"] == "content_block_start":
            message["content"].append(event["content_block"])
        elif event["type"] == "content_block_delta":
            _grow(message["content"][event["index"]], event["delta"])
        elif event["type"] == "message_delta":
            message |= event["delta"] | {"usage": event["usage"], "timings": event["timings"]}
    for block in message["content"]:
        if block["type"] == "tool_use":
            block["input"] = block["input"] and json.loads(block["input"])
    return message


def _grow(block: Any, delta: Any) -> None:
    if delta["type"] == "input_json_delta":
        block["input"] = (block["input"] or "") + delta["partial_json"]
    else:
        name = delta["type"].removesuffix("_delta")
        block[name] += delta[name]


@pytest.mark.parametrize("deltas", [WORDS, CALLS, WORDS[-1:], [Delta("a"), Delta("", finish_reason="length")]])
def test_streamed_and_whole_are_the_same_and_valid_by_anthropics_types(deltas: list[Delta]) -> None:
    events = streamed(answer(), deltas)
    for event in events:
        if event["type"] != "ping":
            EVENT.validate_python(event, strict=True)
    whole = answer().whole(joined(deltas))
    Message.model_validate(whole, strict=True)
    assert folded(events) == whole


def test_a_message_in_events() -> None:
    events = streamed(answer(), WORDS)
    assert [(event["type"], event.get("index")) for event in events] == [
        ("message_start", None),
        ("ping", None),
        ("content_block_start", 0),
        ("content_block_delta", 0),
        ("content_block_delta", 0),
        ("content_block_stop", 0),
        ("message_delta", None),
        ("message_stop", None),
    ]
    assert events[2]["content_block"] == {"type": "text", "text": ""}
    assert [event["delta"]["text"] for event in events[3:5]] == ["he", "llo"]
    assert events[0]["message"]["stop_reason"] is None


def test_thoughts_words_and_calls_are_blocks_behind_each_other() -> None:
    events = streamed(answer(), CALLS)
    shown = [
        (event["type"].removeprefix("content_block_"), event["index"], event.get("delta", {}).get("type"))
        for event in events
        if "index" in event
    ]
    assert shown == [
        ("start", 0, None),
        ("delta", 0, "thinking_delta"),
        ("delta", 0, "signature_delta"),
        ("stop", 0, None),
        ("start", 1, None),
        ("delta", 1, "text_delta"),
        ("stop", 1, None),
        ("start", 2, None),
        ("delta", 2, "input_json_delta"),
        ("delta", 2, "input_json_delta"),
        ("stop", 2, None),
        ("start", 3, None),
        ("delta", 3, "input_json_delta"),
        ("stop", 3, None),
    ]
    blocks = answer().whole(joined(CALLS))["content"]
    assert blocks == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "Now"},
        {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}},
        {"type": "tool_use", "id": "toolu_2", "name": "sub", "input": {}},
    ]


@pytest.mark.parametrize(
    ("last", "reason", "sequence"),
    [
        (Delta("", finish_reason="stop"), "end_turn", None),
        (Delta("", finish_reason="length"), "max_tokens", None),
        (Delta("", finish_reason="stop", stopped_by="END"), "stop_sequence", "END"),
        (Delta("", finish_reason="tool_calls", stopped_by="END"), "tool_use", None),
    ],
)
def test_why_it_stopped(last: Delta, reason: str, sequence: str | None) -> None:
    whole = answer().whole(joined([Delta("a"), last]))
    assert (whole["stop_reason"], whole["stop_sequence"]) == (reason, sequence)
    assert streamed(answer(), [last])[-2]["delta"] == {"stop_reason": reason, "stop_sequence": sequence}


def test_a_call_that_was_cut_off_has_no_input() -> None:
    [block] = answer().whole(joined([*CALLS[2:3], Delta("", finish_reason="length")]))["content"]
    assert block["input"] == {}


def test_what_was_cached_is_no_input() -> None:
    assert answer(cached=2).whole(joined(WORDS))["usage"] == {
        "input_tokens": 1,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 2,
        "output_tokens": 5,
    }


def test_a_failure_ends_the_stream() -> None:
    [(name, body)] = parsed(answer().failed(GenerationFailed()))
    assert (name, body["type"], body["error"]["type"], body["request_id"]) == ("error", "error", "api_error", "x-1")
