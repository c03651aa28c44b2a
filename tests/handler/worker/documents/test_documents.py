"""Documents in moto's S3, answered by an engine that says what the test wants."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest

from handler.settings import Settings
from handler.worker.documents.documents import Desk, make_desk
from handler.worker.pace import Pace
from handler.worker.results import Bucket, connect
from handler.worker.worker import Worker
from tests.handler.doubles import TEMPLATE, ScriptedEngine, byte_model
from tests.handler.worker.conftest import BUCKET
from tests.handler.worker.documents.conftest import Buckets, told
from tests.handler.worker.documents.events import TEST_EVENT, s3_record
from tests.handler.worker.messages import batch, failed, message
from tests.handler.worker.stepping import SteppedEngine
from tests.handler.worker.test_worker import SOON_S, context, slow, telemetry

CONTEXT = 1000
LONG = "".join(f"Sentence number {number} of many. " for number in range(150))  # 5 × the context, a byte a token
SETTINGS = Settings(Path(), input_bucket="input", document_instruction="Sum up.", document_max_bytes=50_000)
LIST = {"combine": "list", "max_tokens": 50}


@cache
def clients(url: str) -> tuple[Bucket, Desk]:
    """Of one server; to make them takes longer than any of these tests."""
    return connect(BUCKET, "us-east-1"), make_desk(SETTINGS, BUCKET, "us-east-1")


def working(engine: ScriptedEngine, pace: Pace | None = None, **settings: Any) -> Worker:
    model = replace(byte_model(engine, CONTEXT, TEMPLATE), slots=3)
    bucket, desk = clients(os.environ["AWS_ENDPOINT_URL_S3"])
    chosen = replace(desk, settings=replace(SETTINGS, **settings))
    return Worker(model, bucket, telemetry(), 0.0, pace, make_desk=lambda: chosen)


def answer(worker: Worker, *records: dict[str, Any]) -> list[str]:
    """The message's id, if it comes back."""
    return failed(worker.handle(batch(told(*records)), context()))


def refused(buckets: Buckets) -> Any:
    """Why a document has no result."""
    [reason] = buckets.kept("failed/").values()
    return reason


def test_a_short_document_is_one_answer(buckets: Buckets) -> None:
    engine = ScriptedEngine("It is short.")
    record = buckets.put("notes/a b.md", "# Hello", ContentType="text/markdown")
    assert answer(working(engine), record) == []
    version = record["s3"]["object"]["versionId"]
    [(name, result)] = buckets.kept("").items()
    assert name == f"results/documents/notes/a b.md/{version}.json"
    assert (result["text"], result["finish_reason"], result["instruction"]) == ("It is short.", "stop", "Sum up.")
    assert result["source"] == {
        "bucket": "input",
        "key": "documents/notes/a b.md",
        "version_id": version,
        "etag": record["s3"]["object"]["eTag"],
        "bytes": 7,
    }
    assert (result["plan"]["parts"], result["plan"]["levels"], result["plan"]["kind"]) == (1, 0, "markdown")
    assert result["usage"]["completion_tokens"] == result["timings"]["completion_tokens"] == 12
    assert bytes(engine.calls[0][1:]) == b"user: Sum up.\n\n# Hello\nassistant:"


def test_five_times_the_context_is_split_answered_and_put_together(buckets: Buckets) -> None:
    engine = ScriptedEngine("Many sentences.")
    assert answer(working(engine), buckets.put("a.txt", LONG)) == []
    result = buckets.result()
    [plan] = buckets.kept("plans/").values()
    [record] = plan["records"]
    parts = record["parts"]
    assert "".join(LONG[part["begin"] : part["end"]] for part in parts) == LONG
    assert all(part["prompt_tokens"] + part["max_tokens"] <= CONTEXT for part in parts)
    assert [len(call) for call in engine.calls[: len(parts)]] == [part["prompt_tokens"] for part in parts]
    assert all(len(call) + plan["combined_tokens"] <= CONTEXT for call in engine.calls)
    assert (result["text"], result["plan"]["parts"], result["plan"]["levels"]) == ("Many sentences.", len(parts), 1)
    assert result["usage"]["completion_tokens"] == 15 * (len(parts) + 1)
    assert result["usage"]["prompt_tokens"] == sum(map(len, engine.calls))
    assert len(buckets.kept("parts/")) == len(parts) + 1
    assert list(buckets.kept("plans/")) == [
        f"plans/{plan['source']['key']}/{plan['source']['version_id']}/{plan['id']}.json"
    ]


def test_answers_that_fill_a_context_are_put_together_in_levels(buckets: Buckets) -> None:
    engine = ScriptedEngine("x" * 500)
    assert answer(working(engine), buckets.put("a.txt", LONG)) == []
    result = buckets.result()
    assert result["plan"]["levels"] >= 3
    assert all(len(call) < CONTEXT for call in engine.calls)
    assert len(engine.calls) == 2 * result["plan"]["parts"] - 1  # Two fit a prompt, and one that is left over waits.
    assert len(buckets.kept("parts/")) == len(engine.calls)


def test_a_list_has_one_answer_a_part_with_its_place(buckets: Buckets) -> None:
    assert answer(working(ScriptedEngine("yes")), buckets.put("a.txt", LONG, request=LIST)) == []
    result = buckets.result()
    assert {one["text"] for one in result["answers"]} == {"yes"}
    places = [(one["begin"], one["end"]) for one in result["answers"]]
    assert places[0][0] == 0
    assert places[-1][1] == len(LONG)
    assert [end for _, end in places[:-1]] == [begin for begin, _ in places[1:]]
    assert (result["plan"]["levels"], result["plan"]["combine"]) == (0, "list")


def test_json_lines_have_one_answer_a_line_in_their_order(buckets: Buckets) -> None:
    engine = ScriptedEngine("ok")
    lines = [json.dumps({"text": f"line {number}"}) for number in range(20)]
    assert answer(working(engine), buckets.put("a.jsonl", "\n\n".join(lines))) == []
    result = buckets.result()
    assert [one["line"] for one in result["answers"]] == list(range(1, 40, 2))
    assert {one["text"] for one in result["answers"]} == {"ok"}
    asked = [bytes(call[1:]).decode() for call in engine.calls]
    assert sorted(asked) == sorted(f"user: Sum up.\n\n{line}\nassistant:" for line in lines)


def test_a_line_that_is_too_long_is_split_and_put_together(buckets: Buckets) -> None:
    lines = [json.dumps({"n": 1}), json.dumps({"text": LONG})]
    assert answer(working(ScriptedEngine("ok")), buckets.put("a.jsonl", "\n".join(lines))) == []
    result = buckets.result()
    assert [(one["line"], one["text"]) for one in result["answers"]] == [(1, "ok"), (2, "ok")]
    assert result["plan"]["levels"] == 1


def test_gzip_is_read(buckets: Buckets) -> None:
    body = gzip.compress(b"Hello")
    engine = ScriptedEngine()
    assert answer(working(engine), buckets.put("a.txt", body, ContentEncoding="gzip")) == []
    assert b"Hello" in bytes(engine.calls[0][1:])


def test_as_many_parts_at_a_time_as_there_are_slots_whichever_document_they_are_of(buckets: Buckets) -> None:
    engine = SteppedEngine()
    worker = working(ScriptedEngine())
    worker._model = replace(worker._model, generate=engine.generate, step=engine.step)
    messages = [told(buckets.put(name, LONG, request=LIST), id=name) for name in ("a.txt", "b.txt")]
    assert failed(worker.handle(batch(*messages), context())) == []
    assert (engine.most, max(engine.reading)) == (3, 1)
    assert [len(result["answers"]) for result in buckets.kept().values()] == [len(engine.ended) / 2] * 2


# ---------------------------------------------------------------- once


def test_a_notification_that_comes_twice_has_one_result(buckets: Buckets) -> None:
    engine = ScriptedEngine()
    worker, record = working(engine), buckets.put("a.txt", "Hello")
    event = batch(told(record, record), told(record, id="m2"))
    assert failed(worker.handle(event, context())) == answer(worker, record) == []
    assert (len(engine.calls), len(buckets.kept(""))) == (1, 1)


def test_each_version_has_its_result_whichever_is_read_first(buckets: Buckets) -> None:
    engine = ScriptedEngine()
    worker, records = working(engine), [buckets.put("a.txt", f"Version {number}") for number in (1, 2)]
    for record in reversed(records):
        assert answer(worker, record) == []
    assert [bytes(call[1:]).decode()[15:24] for call in engine.calls] == ["Version 2", "Version 1"]
    assert len({result["source"]["version_id"] for result in buckets.kept().values()}) == 2


def test_without_versions_the_newest_is_answered_and_the_others_are_superseded(
    buckets: Buckets, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [buckets.put("a.txt", f"Version {number}") for number in (1, 2)]
    for record in records:
        del record["s3"]["object"]["versionId"]
    worker = working(ScriptedEngine())
    assert answer(worker, *records) == []
    assert buckets.result()["source"]["etag"] == records[1]["s3"]["object"]["eTag"]
    assert '"superseded"' in capsys.readouterr().out


def test_a_version_that_was_deleted_is_told(buckets: Buckets) -> None:
    record = buckets.put("a.txt", "Hello")
    found = record["s3"]["object"]
    buckets.s3.delete_object(Bucket="input", Key=found["key"].replace("%2F", "/"), VersionId=found["versionId"])
    assert answer(working(ScriptedEngine()), record) == ["m1"]
    assert refused(buckets)["error"]["code"] == "document_gone"


def test_a_test_of_the_queue_is_done(buckets: Buckets) -> None:
    assert failed(working(ScriptedEngine()).handle(batch(message("m1", TEST_EVENT)), context())) == []


# ---------------------------------------------------------------- poison

POISON = [
    ("a.pdf", b"%PDF-1.7", "application/pdf", "document_unsupported"),
    ("a.txt", b"\xff\xfe", "text/plain", "document_unreadable"),
    ("a.json", b"{", "application/json", "document_unreadable"),
    ("a.txt", b" ", "text/plain", "document_empty"),
    ("a.txt", b"x" * 50_001, "text/plain", "document_too_large"),
]


@pytest.mark.parametrize(("name", "body", "content_type", "code"), POISON)
def test_poison_comes_back_and_its_reason_lies_beside_the_results(
    buckets: Buckets, name: str, body: bytes, content_type: str, code: str
) -> None:
    engine = ScriptedEngine()
    record, good = buckets.put(name, body, ContentType=content_type), buckets.put("good.txt", "Hello")
    assert answer(working(engine), record, good) == ["m1"]
    reason = refused(buckets)
    assert (reason["error"]["code"], reason["source"]["key"], reason["job"]) == (code, f"documents/{name}", "m1")
    assert len(engine.calls) == len(buckets.kept()) == 1


def test_a_size_that_is_told_wrongly_helps_nobody(buckets: Buckets) -> None:
    record = buckets.put("a.txt", "x" * 50_001)
    record["s3"]["object"]["size"] = 5
    assert answer(working(ScriptedEngine()), record) == ["m1"]
    assert refused(buckets)["error"]["code"] == "document_too_large"


def test_without_an_instruction_it_is_refused(buckets: Buckets) -> None:
    worker = working(ScriptedEngine(), document_instruction=None)
    assert answer(worker, buckets.put("a.txt", "Hello")) == ["m1"]
    assert refused(buckets)["error"]["code"] == "instruction_missing"
    assert answer(worker, buckets.put("b.txt", "Hello", "Classify.")) == []


@pytest.mark.parametrize(
    "request_of", [{"max_tokens": CONTEXT}, {"system": "x" * CONTEXT}, {"combine_instruction": "x" * CONTEXT}]
)
def test_what_leaves_no_room_is_refused(buckets: Buckets, request_of: Any) -> None:
    assert answer(working(ScriptedEngine()), buckets.put("a.txt", LONG, request=request_of)) == ["m1"]
    assert refused(buckets)["error"]["code"] == "no_room_for_document"


def test_more_parts_than_are_kept_are_refused(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.worker.documents.plan.MOST_PARTS", 3)
    for name, body in (("a.txt", LONG), ("a.jsonl", "1\n2\n3\n4")):
        assert answer(working(ScriptedEngine()), buckets.put(name, body)) == ["m1"]
    assert {reason["error"]["code"] for reason in buckets.kept("failed/").values()} == {"too_many_parts"}


def test_another_bucket_is_not_even_asked(buckets: Buckets, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(working(ScriptedEngine()), s3_record(bucket=BUCKET)) == ["m1"]
    assert '"notification_refused"' in capsys.readouterr().out
    assert list(buckets.kept("")) == ["failed/messages/m1.json"]


def test_a_worker_without_documents_refuses_them(buckets: Buckets) -> None:
    bucket, _ = clients(os.environ["AWS_ENDPOINT_URL_S3"])
    worker = Worker(byte_model(ScriptedEngine(), CONTEXT, TEMPLATE), bucket, telemetry(), 0.0)
    assert answer(worker, buckets.put("a.txt", "Hello")) == ["m1"]
    assert answer(working(ScriptedEngine(), input_bucket=None), s3_record()) == ["m1"]


# ---------------------------------------------------------------- going on


def test_what_broke_between_parts_goes_on_where_it_was(buckets: Buckets) -> None:
    record = buckets.put("a.txt", LONG, request=LIST)
    broken = ScriptedEngine("y" * 10)
    worker = working(broken)
    calls = broken.generate

    def breaking(*arguments: Any) -> Iterator[Any]:
        if len(broken.calls) == 3:
            raise RuntimeError("killed")
        return calls(*arguments)

    worker._model = replace(worker._model, generate=breaking)  # type: ignore[arg-type]
    assert answer(worker, record) == ["m1"]
    before = buckets.kept("parts/")
    assert len(before) == 3
    engine = ScriptedEngine("n" * 10)
    assert answer(working(engine), record) == []
    result = buckets.result()
    assert len(engine.calls) == result["plan"]["parts"] - 3
    assert [one["text"] for one in result["answers"]].count("y" * 10) == 3
    assert {key: part for key, part in buckets.kept("parts/").items() if key in before} == before


def test_another_model_instruction_or_request_begins_anew(buckets: Buckets) -> None:
    record = buckets.put("a.txt", LONG, request=LIST)
    for change in ({}, {"document_instruction": "Classify."}, {"document_request": {"seed": 1}}):
        worker = working(engine := ScriptedEngine(), **change)
        assert answer(worker, record) == []
        [name] = buckets.kept()
        buckets.s3.delete_object(Bucket=BUCKET, Key=name)
        assert engine.calls
    worker = working(ScriptedEngine())
    worker._model = replace(worker._model, fingerprint="another")
    assert answer(worker, record) == []
    assert len(buckets.kept("plans/")) == 4


def test_two_workers_of_one_document_keep_one_answer_a_part(buckets: Buckets) -> None:
    record = buckets.put("a.txt", LONG, request=LIST)
    other = working(ScriptedEngine("other"))
    engine = ScriptedEngine("mine")
    worker = working(engine)
    calls = engine.generate

    def meanwhile(*arguments: Any) -> Iterator[Any]:
        if not engine.calls:
            assert answer(other, record) == []
            buckets.s3.delete_object(Bucket=BUCKET, Key=next(iter(buckets.kept())))
        return calls(*arguments)

    worker._model = replace(worker._model, generate=meanwhile)  # type: ignore[arg-type]
    assert answer(worker, record) == []
    assert {one["text"] for one in buckets.result()["answers"]} == {"other"}


@pytest.fixture
def queue(buckets: Buckets) -> Iterator[Any]:
    """The one that the messages say they come from."""
    queue = boto3.resource("sqs").create_queue(QueueName="jobs")
    yield queue
    queue.delete()


def sent(record: dict[str, Any], queue: Any, suffix: str = "") -> dict[str, Any]:
    """A message that says that it comes from a queue."""
    return told(record) | {"eventSourceARN": queue.attributes["QueueArn"] + suffix}


def received(queue: Any) -> list[dict[str, Any]]:
    """What lies in a queue, as Lambda would write it."""
    found = [(one.body, one.delete()) for one in queue.receive_messages(MaxNumberOfMessages=10)]
    return [message("m2", json.loads(body)) | {"eventSourceARN": queue.attributes["QueueArn"]} for body, _ in found]


def test_a_document_that_takes_longer_than_an_invocation_is_sent_anew_as_long_as_it_gets_on(
    buckets: Buckets, queue: Any
) -> None:
    waiting = [sent(buckets.put("a.txt", LONG, request=LIST), queue)]
    invocations = 0
    while waiting and invocations < 20:
        invocations += 1
        # By this pace there is time for the first part only, which always begins.
        assert failed(working(ScriptedEngine("yes"), slow()).handle(batch(*waiting), context())) == []
        assert len(buckets.kept("parts/")) == invocations
        waiting = received(queue)
    result = buckets.result()
    assert {one["text"] for one in result["answers"]} == {"yes"}
    assert invocations == result["plan"]["parts"]


def test_two_documents_of_one_message_that_go_on_are_one_message_again(buckets: Buckets, queue: Any) -> None:
    records = [buckets.put(name, LONG, request=LIST) for name in ("a.txt", "b.txt")]
    event = told(*records) | {"eventSourceARN": queue.attributes["QueueArn"]}
    invocations, waiting = 0, [event]
    while waiting and invocations < 40:
        invocations += 1
        assert failed(working(ScriptedEngine("yes"), slow()).handle(batch(*waiting), context())) == []
        waiting = received(queue)
        assert len(waiting) <= 1
    assert len(buckets.kept()) == 2


def test_a_document_that_does_not_get_on_comes_back(buckets: Buckets, queue: Any) -> None:
    event = sent(buckets.put("a.txt", LONG, request=LIST), queue)
    worker = working(ScriptedEngine("x" * 20, hold_after=1))
    assert failed(worker.handle(batch(event), context(SOON_S))) == ["m1"]
    assert received(queue) == []


def test_in_a_fifo_queue_it_keeps_its_place(buckets: Buckets, queue: Any) -> None:
    event = sent(buckets.put("a.txt", LONG, request=LIST), queue, ".fifo")
    assert failed(working(ScriptedEngine("yes"), slow()).handle(batch(event), context())) == ["m1"]
    assert received(queue) == []
    assert len(buckets.kept("parts/")) == 1


def test_a_queue_that_takes_nothing_loses_nothing(buckets: Buckets, capsys: pytest.CaptureFixture[str]) -> None:
    worker = working(ScriptedEngine("yes"), slow())
    assert answer(worker, buckets.put("a.txt", LONG, request=LIST)) == ["m1"]
    assert '"requeue_failed"' in capsys.readouterr().out
    assert len(buckets.kept("parts/")) == 1
