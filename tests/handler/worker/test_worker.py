from __future__ import annotations

import json
import time
import uuid
from dataclasses import replace
from typing import Any

import pytest
from awslambdaric.lambda_context import LambdaContext

from handler.api.completions import parse_completion
from handler.artefact import Embeddings
from handler.engine.memory import Room
from handler.errors import (
    ContextLengthExceeded,
    DeadlineExceeded,
    GenerationFailed,
    ResponseTooLarge,
    ResultsBucketMissing,
)
from handler.generation import prepare
from handler.worker.pace import Pace
from handler.worker.results import Bucket, connect
from handler.worker.telemetry import Telemetry
from handler.worker.worker import Worker, choices_at_once
from tests.handler.doubles import EMBEDDING_SIZE, TEMPLATE, ScriptedEngine, byte_model
from tests.handler.emf import metrics_of
from tests.handler.worker.conftest import BUCKET
from tests.handler.worker.messages import batch, failed, message

PROMPT = {"prompt": "hi", "max_tokens": 100}


@pytest.fixture
def bucket(s3: Any) -> Bucket:
    return connect(BUCKET, "us-east-1")


def working(engine: ScriptedEngine, bucket: Bucket | None = None, pace: Pace | None = None) -> Worker:
    model = byte_model(engine, 200, TEMPLATE)
    return Worker(model, bucket, telemetry(), margin_s=0, pace=pace)


def telemetry(texts: bool = False) -> Telemetry:
    """One that writes to the stdout of now: Powertools keeps a logger's stream for all of the same service."""
    return Telemetry({"POWERTOOLS_SERVICE_NAME": uuid.uuid4().hex}, texts)


SOON_S = 2.5  # until a deadline that comes after the first tokens, even where the machine is busy


def context(left_s: float = 60) -> LambdaContext:
    return LambdaContext("request-1", None, None, int((time.time() + left_s) * 1e3))


def slow() -> Pace:
    """A second a token."""
    pace = Pace()
    pace.observe(
        {"prompt_tokens": 1, "cached_tokens": 0, "prefill_ms": 1000, "completion_tokens": 2, "decode_ms": 1000}
    )
    return pace


def test_an_invoke_has_a_result() -> None:
    result = working(ScriptedEngine()).handle(PROMPT, context())
    assert (result["id"], result["text"], result["finish_reason"]) == ("cmpl-request-1", "hello world", "stop")


def test_a_result_tells_what_the_cache_had() -> None:
    result = working(ScriptedEngine(cached_tokens=2)).handle(PROMPT, context())
    assert result["usage"]["prompt_tokens_details"] == {"cached_tokens": 2}


def test_an_invoke_with_an_input_has_vectors() -> None:
    model = byte_model(ScriptedEngine(), 200, TEMPLATE, Embeddings("mean", EMBEDDING_SIZE))
    result = Worker(model, None, telemetry(), margin_s=0).handle({"input": ["a", "bc"], "dimensions": 2}, context())
    assert [(one["index"], len(one["embedding"])) for one in result["data"]] == [(0, 2), (1, 2)]
    assert (result["id"], result["usage"]["prompt_tokens"]) == ("embd-request-1", 5)
    assert result["timings"]["prefill_ms"] >= 0


def test_some_of_the_vectors_are_no_result() -> None:
    engine = ScriptedEngine(hold_after=1)
    model = byte_model(engine, 200, TEMPLATE, Embeddings("mean", EMBEDDING_SIZE))
    with pytest.raises(DeadlineExceeded):
        Worker(model, None, telemetry(), margin_s=0).handle({"input": ["a"] * 3}, context(SOON_S))
    assert (len(engine.calls), engine.closed) == (2, 2)


def test_an_invoke_has_all_its_choices(capsys: pytest.CaptureFixture[str]) -> None:
    worker = Worker(byte_model(ScriptedEngine(), 200, TEMPLATE), None, telemetry(texts=True), 0.0)
    result = worker.handle({"prompt": ["a", "b"], "n": 2}, context())
    assert [choice["text"] for choice in result["choices"]] == ["hello world"] * 4
    assert result["usage"]["completion_tokens"] == 44
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"answered"' in line]
    assert line["answers"] == ["hello world"] * 4


@pytest.mark.parametrize(("tokens", "at_once"), [(10_000, 3), (420, 2), (100, 1)])
def test_choices_are_side_by_side_as_far_as_memory_goes(tokens: int, at_once: int) -> None:
    model = replace(byte_model(ScriptedEngine(), 200, TEMPLATE), slots=3, room=Room(3, tokens, 0))
    request = parse_completion({"prompt": "hi", "n": 8, "max_tokens": 197}, model.served)
    assert choices_at_once(model, prepare(model, request, "1", 0.0)) == at_once


def test_logprobs_come_if_asked_for() -> None:
    result = working(ScriptedEngine("ab")).handle(PROMPT | {"logprobs": 1}, context())
    assert result["logprobs"]["tokens"] == ["a", "b"]


def test_the_deadline_ends_an_invoke_in_good_order() -> None:
    result = working(ScriptedEngine("x" * 100, hold_after=3)).handle(PROMPT, context(SOON_S))
    assert (result["text"], result["finish_reason"]) == ("xxx", "length")
    assert result["timings"]["stopped_by"] == "deadline"


def test_an_error_of_the_engine_is_not_shown_to_the_caller(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(GenerationFailed):
        working(ScriptedEngine(fail_after=1)).handle(PROMPT, context())
    assert "the engine broke" in capsys.readouterr().out


def test_after_an_error_the_next_event_is_answered() -> None:
    worker = working(ScriptedEngine())
    with pytest.raises(ContextLengthExceeded):
        worker.handle({"prompt": "x" * 300}, context())
    assert worker.handle(PROMPT, context())["text"] == "hello world"


def test_an_answer_that_lambda_would_not_take_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.worker.worker.LARGEST_ANSWER", 540)
    assert working(ScriptedEngine()).handle(PROMPT, context())
    with pytest.raises(ResponseTooLarge):
        working(ScriptedEngine("\x00" * 100)).handle(PROMPT, context())


def test_a_key_needs_a_bucket() -> None:
    with pytest.raises(ResultsBucketMissing):
        working(ScriptedEngine()).handle(PROMPT | {"idempotency_key": "a"}, context())


def test_an_invoke_with_a_key_is_worked_on_once(bucket: Bucket) -> None:
    engine = ScriptedEngine()
    worker = working(engine, bucket)
    results = [worker.handle(PROMPT | {"idempotency_key": "a"}, context()) for _ in range(2)]
    assert results[0] == results[1] == bucket.read("a")
    assert len(engine.calls) == 1


def test_what_the_deadline_cut_off_is_not_kept(bucket: Bucket) -> None:
    worker = working(ScriptedEngine("x" * 100, hold_after=3), bucket)
    assert worker.handle(PROMPT | {"idempotency_key": "a"}, context(SOON_S))["text"] == "xxx"
    assert not bucket.has("a")


def test_two_messages_with_one_key_are_one_job(bucket: Bucket) -> None:
    engine = ScriptedEngine()
    same = PROMPT | {"idempotency_key": "a"}
    event = batch(message("m1", same), message("m2", same), message("m3", PROMPT), message("m3", PROMPT))
    assert failed(working(engine, bucket).handle(event, context())) == []
    assert len(engine.calls) == 2


def test_what_was_answered_before_is_not_answered_again(bucket: Bucket) -> None:
    bucket.keep("m1", {"text": "before"})
    engine = ScriptedEngine()
    assert failed(working(engine, bucket).handle(batch(message("m1", PROMPT)), context())) == []
    assert engine.calls == []


def test_a_poison_message_blocks_no_other(bucket: Bucket) -> None:
    poison = [message("p1", "\x00"), message("p2", {"prompt": "x" * 300}), message("p3", {"messages": []})]
    event = batch(poison[0], message("m1", PROMPT), *poison[1:], message("m2", PROMPT))
    assert failed(working(ScriptedEngine(), bucket).handle(event, context())) == ["p1", "p2", "p3"]
    assert bucket.has("m1")
    assert bucket.has("m2")


def test_a_message_that_the_engine_fails_comes_back(bucket: Bucket) -> None:
    worker = working(ScriptedEngine(fail_after=1), bucket)
    assert failed(worker.handle(batch(message("m1", PROMPT)), context())) == ["m1"]
    assert not bucket.has("m1")


def test_messages_that_no_longer_fit_come_back_untouched(bucket: Bucket) -> None:
    engine = ScriptedEngine()
    event = batch(message("m1", PROMPT), message("m2", PROMPT), message("m3", PROMPT | {"max_tokens": 1}))
    assert failed(working(engine, bucket, slow()).handle(event, context(20))) == ["m2"]
    assert len(engine.calls) == 2


def test_a_message_that_the_deadline_cut_off_comes_back_and_nothing_is_kept(bucket: Bucket) -> None:
    engine = ScriptedEngine("x" * 100, hold_after=3)
    event = batch(message("m1", PROMPT), message("m2", PROMPT))
    assert failed(working(engine, bucket).handle(event, context(SOON_S))) == ["m1", "m2"]
    assert len(engine.calls) == 1
    assert not bucket.has("m1")


def test_without_the_bucket_all_messages_come_back_unanswered(s3: Any) -> None:
    engine = ScriptedEngine()
    worker = working(engine, connect("nowhere", "us-east-1"))
    assert failed(worker.handle(batch(message("m1", PROMPT)), context())) == ["m1"]


def test_a_refused_value_is_not_logged(bucket: Bucket, capsys: pytest.CaptureFixture[str]) -> None:
    event = batch(message("m1", PROMPT | {"temperature": "geheim"}))
    assert failed(working(ScriptedEngine(), bucket).handle(event, context())) == ["m1"]
    logged = capsys.readouterr().out
    assert "geheim" not in logged
    assert '"invalid_type"' in logged
    assert '"temperature"' in logged


def test_texts_are_logged_only_if_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    model = byte_model(ScriptedEngine("geheim"), 200, TEMPLATE)
    Worker(model, None, telemetry(), margin_s=0).handle(PROMPT, context())
    assert "geheim" not in capsys.readouterr().out
    Worker(model, None, telemetry(texts=True), margin_s=0).handle(PROMPT, context())
    assert "geheim" in capsys.readouterr().out


def measured(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    return [metrics_of(line) for line in lines]


def test_a_batch_has_its_metrics(bucket: Bucket, capsys: pytest.CaptureFixture[str]) -> None:
    bucket.keep("m0", {"text": "before"})
    event = batch(message("m0", PROMPT), message("m1", PROMPT), message("m2", {"prompt": 7}), message("m3", PROMPT))
    worker = working(ScriptedEngine(), bucket)
    assert failed(worker.handle(event, context())) == ["m2"]
    [values] = measured(capsys)
    assert (values["Answers"], values["Repeats"], values["Refusals"], values["ColdStart"]) == ([1, 1], [1], [1], [1])
    assert [len(values[name]) for name in ("QueueWait", "FirstTokenTime", "PrefillTime")] == [2, 2, 2]
    assert "Failures" not in values


def test_an_invoke_waits_in_no_queue_that_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    working(ScriptedEngine()).handle(PROMPT, context())
    assert "QueueWait" not in measured(capsys)[0]


def test_what_the_operator_or_the_engine_does_wrong_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    worker = working(ScriptedEngine(fail_after=1))
    for event, error in ((PROMPT, GenerationFailed), (batch(message("m1")), ResultsBucketMissing)):
        with pytest.raises(error):
            worker.handle(event, context())
    assert [values["Failures"] for values in measured(capsys)] == [[1], [1]]
