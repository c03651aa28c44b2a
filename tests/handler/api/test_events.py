import json
from collections.abc import Generator

import pytest

from handler.api.events import ChatShape, Chunk, CompletionShape, Envelope, Shape, chunks, event, fold, json_bytes
from handler.text.deltas import Delta, Meter, ScoredToken

ENVELOPE = Envelope("x-1", 5, "m", "fp")
SCORES = (ScoredToken(b"a\xff", -0.5, ((b"b", -1.0), (b"c", float("-inf"))), 0),)


def deltas() -> Generator[Delta, None, None]:
    yield Delta("a", SCORES)
    yield Delta("")
    yield Delta("b")
    yield Delta("c", finish_reason="length")


def make(shape: Shape, include_usage: bool = True) -> list[Chunk]:
    return [c for c in chunks(shape, ENVELOPE, deltas(), Meter(3, 0.0), include_usage) if c is not None]


def test_a_chat_begins_with_the_role_and_ends_with_the_reason_and_the_usage() -> None:
    parts = [chunk["choices"] for chunk in make(ChatShape())]
    assert [part[0]["delta"] for part in parts[:-1]] == [
        {"role": "assistant", "content": ""},
        {"content": "a"},
        {"content": "b"},
        {"content": "c"},
        {},
    ]
    assert [part[0]["finish_reason"] for part in parts[:-1]] == [None, None, None, None, "length"]
    assert parts[-1] == []


def test_usage_is_null_until_the_last_chunk() -> None:
    usages = [chunk["usage"] for chunk in make(ChatShape())]
    assert usages[:-1] == [None] * 5
    assert usages[-1]["total_tokens"] == 3


def test_without_usage_there_is_no_such_member() -> None:
    parts = make(CompletionShape(), include_usage=False)
    assert all("usage" not in chunk for chunk in parts)
    assert parts[-1]["choices"][0]["finish_reason"] == "length"


def test_timings_come_with_the_reason() -> None:
    with_timings = [chunk for chunk in make(ChatShape()) if "timings" in chunk]
    assert [chunk["choices"][0]["finish_reason"] for chunk in with_timings] == ["length"]


@pytest.mark.parametrize("shape", [ChatShape(), CompletionShape()])
def test_all_chunks_share_their_head(shape: Shape) -> None:
    heads = {(c["id"], c["object"], c["created"], c["model"], c["system_fingerprint"]) for c in make(shape)}
    assert heads == {("x-1", shape.chunk_object, 5, "m", "fp")}


def test_a_chat_is_the_fold_of_its_chunks() -> None:
    whole = fold(ChatShape(), make(ChatShape()))
    assert whole["object"] == "chat.completion"
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "abc", "refusal": None}
    assert whole["choices"][0]["finish_reason"] == "length"
    assert whole["choices"][0]["logprobs"]["content"][0]["bytes"] == [97, 255]
    assert whole["usage"]["total_tokens"] == 3


def test_a_completion_is_the_fold_of_its_chunks() -> None:
    whole = fold(CompletionShape(), make(CompletionShape()))
    assert (whole["object"], whole["choices"][0]["text"]) == ("text_completion", "abc")
    assert whole["choices"][0]["logprobs"] == {
        "tokens": ["a\ufffd"],
        "token_logprobs": [-0.5],
        "top_logprobs": [{"b": -1.0, "c": -9999.0}],
        "text_offset": [0],
    }


def test_an_event_is_one_line() -> None:
    assert event({"a": "é\n"}) == 'data: {"a":"é\\n"}\n\n'.encode()


def test_a_lone_surrogate_stays_an_escape() -> None:
    assert json.loads(json_bytes({"a": "\ud800"})) == {"a": "\ud800"}


def test_closing_the_chunks_closes_the_deltas() -> None:
    source = deltas()
    parts = chunks(ChatShape(), ENVELOPE, source, Meter(3, 0.0), False)
    next(parts)
    parts.close()
    assert list(source) == []
