import socket
import threading
from typing import Any

import pytest

from handler.api.events import ChatShape, CompletionShape, Envelope, chunks
from handler.errors import ResultsUnavailable
from handler.text.deltas import Delta, Meter
from handler.worker.results import Bucket, Result, connect, cut_off, result_of
from tests.handler.worker.conftest import BUCKET

RESULT: Result = {"text": "höllo", "timings": {}}


@pytest.fixture
def bucket(s3: Any) -> Bucket:
    return connect(BUCKET, "us-east-1")


@pytest.mark.parametrize("shape", [ChatShape(), CompletionShape()])
def test_a_result_has_the_text_and_what_it_took(shape: Any) -> None:
    deltas = (delta for delta in (Delta("hel"), Delta("lo"), Delta("", finish_reason="stop")))
    meter = Meter(prompt_tokens=3, received_at=0.0)
    answer = chunks(shape, Envelope("id", 1, "model", "fp"), deltas, meter, include_usage=True)
    result = result_of(shape, [chunk for chunk in answer if chunk is not None])
    assert (result["id"], result["model"], result["text"], result["finish_reason"]) == ("id", "model", "hello", "stop")
    assert result["usage"]["prompt_tokens"] == 3
    assert "logprobs" not in result
    assert not cut_off(result)


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
