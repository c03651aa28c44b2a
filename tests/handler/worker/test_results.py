from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from handler.errors import ResultsUnavailable
from handler.generation import prepare
from handler.text.deltas import CallDelta, Delta
from handler.worker.results import Bucket, Result, connect, cut_off, result_of, said
from tests.handler.api.answers import SCORES
from tests.handler.api.requests import chat, completion
from tests.handler.doubles import TEMPLATE, ScriptedEngine, byte_model
from tests.handler.worker.conftest import BUCKET

RESULT: Result = {"text": "höllo", "timings": {}}


@pytest.fixture
def bucket(s3: Any) -> Bucket:
    return connect(BUCKET, "us-east-1")


def result(request: Any, delta: Delta) -> Result:
    return result_of(prepare(byte_model(ScriptedEngine(), 200, TEMPLATE), request, "1", 0.0), [delta])


@pytest.mark.parametrize(("request_of", "id"), [(chat, "chatcmpl-1"), (completion, "cmpl-1")])
def test_a_result_has_the_text_and_what_it_took(request_of: Any, id: str) -> None:
    made = result(request_of(), Delta("hello", finish_reason="stop"))
    assert (made["id"], made["model"], made["text"], made["finish_reason"]) == (id, "owner/name", "hello", "stop")
    assert made["usage"]["prompt_tokens"] == made["timings"]["prompt_tokens"] > 0
    assert "logprobs" not in made
    assert not cut_off(made)


@pytest.mark.parametrize(
    ("request_of", "members"),
    [(chat, {"content", "refusal"}), (completion, {"tokens", "token_logprobs", "top_logprobs", "text_offset"})],
)
def test_logprobs_have_the_endpoints_own_form(request_of: Any, members: set[str]) -> None:
    assert result(request_of(), Delta("a", SCORES, "stop"))["logprobs"].keys() == members


def test_several_choices_have_the_same_members_each() -> None:
    prepared = prepare(byte_model(ScriptedEngine(), 200, TEMPLATE), chat(n=2), "1", 0.0)
    made = result_of(prepared, [Delta("a", finish_reason="stop"), Delta("b", SCORES, "length", 1)])
    assert made["choices"][0] == {"index": 0, "text": "a", "finish_reason": "stop"}
    assert made["choices"][1].keys() == {"index", "text", "finish_reason", "logprobs"}
    assert "text" not in made
    assert [choice["text"] for choice in said(made)] == ["a", "b"]


def test_calls_and_thoughts_are_told() -> None:
    called = result(chat(), Delta("", (), "tool_calls", reasoning="hm", calls=(CallDelta(0, "c1", "f", "{}"),)))
    assert called["tool_calls"] == [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    assert (called["text"], called["reasoning_content"], called["finish_reason"]) == ("", "hm", "tool_calls")
    assert not {"tool_calls", "reasoning_content"} & result(chat(), Delta("x")).keys()


def test_what_is_kept_can_be_read(bucket: Bucket) -> None:
    assert (bucket.has("a"), bucket.read("a")) == (False, None)
    assert bucket.keep("a", RESULT)
    assert (bucket.has("a"), bucket.read("a")) == (True, RESULT)


def test_it_lies_under_its_key_as_json(bucket: Bucket, s3: Any) -> None:
    bucket.keep("a", RESULT)
    item = s3.get_object(Bucket=BUCKET, Key="results/a.json")
    assert item["ContentType"] == "application/json"
    assert item["Body"].read() == '{"text":"höllo","timings":{}}'.encode()


def test_the_first_result_stays(bucket: Bucket) -> None:
    assert bucket.keep("a", RESULT)
    assert not bucket.keep("a", {"text": "another"})
    assert bucket.read("a") == RESULT


def test_of_many_writers_one_is_first(bucket: Bucket) -> None:
    kept: list[str] = []

    def write(name: str) -> None:
        if bucket.keep("a", {"text": name}):
            kept.append(name)

    threads = [threading.Thread(target=write, args=[name]) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bucket.read("a") == {"text": kept[0]}
    assert len(kept) == 1


def test_a_bucket_that_is_not_there_is_named(s3: Any) -> None:
    with pytest.raises(ResultsUnavailable, match=r"s3://nowhere/results/a\.json"):
        connect("nowhere", "us-east-1").keep("a", RESULT)


def test_a_result_that_is_not_ours_is_named(bucket: Bucket, s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="results/a.json", Body=b"{")
    with pytest.raises(ResultsUnavailable, match=r"results/a\.json"):
        bucket.read("a")


def test_an_endpoint_that_does_not_answer_is_an_error(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(ResultsUnavailable, match="Could not connect"):
            connect(BUCKET, "us-east-1").has("a")
