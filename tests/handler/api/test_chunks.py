from __future__ import annotations

import json
from typing import Any

import pytest

from tests.handler.api.answers import streamed
from tests.handler.api.requests import chat, completion

USAGE: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


def test_usage_is_null_until_the_last_chunk() -> None:
    usages = [chunk["usage"] for chunk in streamed(chat(**USAGE))[:-1]]
    assert usages[:-1] == [None] * 5
    assert usages[-1]["total_tokens"] == 3


def test_without_usage_there_is_no_such_member() -> None:
    chunks = streamed(completion(stream=True))[:-1]
    assert all("usage" not in chunk for chunk in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


def test_timings_come_with_the_reason() -> None:
    with_timings = [chunk for chunk in streamed(chat()) if "timings" in chunk]
    assert [chunk["choices"][0]["finish_reason"] for chunk in with_timings] == ["length"]


@pytest.mark.parametrize(("request_of", "name"), [(chat, "chat.completion.chunk"), (completion, "text_completion")])
def test_all_chunks_share_their_head(request_of: Any, name: str) -> None:
    heads = [
        [c["id"], c["object"], c["created"], c["model"], c["system_fingerprint"]] for c in streamed(request_of())[:-1]
    ]
    assert {json.dumps(head) for head in heads} == {json.dumps(["x-1", name, 5, "m", "fp"])}
