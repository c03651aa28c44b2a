from __future__ import annotations

from dataclasses import replace

import pytest

from bench.batch_load.documents import Document
from bench.batch_load.judging import cost, different, faults, judge
from bench.batch_load.running import Outcome
from handler.prices import lambda_rates, read_regions

DOCUMENTS = [
    Document("documents/a", b"a"),
    Document("documents/b", b"b"),
    Document("documents/c", b"", refused="empty"),
]
FIGURES = {"gb_seconds": 2.0, "invocations": 3, "s3_calls": {"PUT": 5, "GET": 7, "HEAD": 11}}
WELL = Outcome(
    seconds=60,
    samples=[],
    killed_at_s=[],
    throttled_at_s=[],
    results={"documents/a": {"text": "A"}, "documents/b": {"text": "B"}},
    written={"documents/a": 1, "documents/b": 1},
    dead=["documents/c"],
    reasons={"documents/c": "empty"},
    figures=FIGURES,
)


def test_a_run_in_which_all_is_well_has_no_fault() -> None:
    row = judge(DOCUMENTS, WELL)
    assert faults(row) == []
    assert (row["results"], row["given_up"], row["documents_per_minute"]) == (2, 1, 2)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"results": {"documents/a": {"text": "A"}}}, "1 lost: documents/b"),
        ({"written": {"documents/a": 2, "documents/b": 1}}, "1 doubled: documents/a"),
        ({"dead": ["documents/b", "documents/c"]}, "1 given up wrongly: documents/b"),
        ({"reasons": {}}, "1 without reason: documents/c"),
        ({"reasons": {"documents/c": "another"}}, "1 without reason: documents/c"),
        ({"results": {**WELL.results, "documents/c": {}}}, "1 poison answered: documents/c"),
    ],
)
def test_each_fault_is_named(change: dict[str, object], fault: str) -> None:
    assert faults(judge(DOCUMENTS, replace(WELL, **change))) == [fault]  # type: ignore[arg-type]


def test_another_answer_is_found() -> None:
    other = replace(WELL, results={"documents/a": {"text": "A"}, "documents/b": {"text": "?"}})
    assert different(WELL, other) == ["documents/b"]
    assert different(WELL, WELL) == []


def test_the_cost_is_that_of_function_bucket_and_queue() -> None:
    rates, prices = lambda_rates("us-east-1", "x86_64"), read_regions()["us-east-1"]
    assert rates is not None
    function = 2 * rates.gb_second + 3 * rates.request
    bucket = 5 * prices["s3"]["put"] + 18 * prices["s3"]["get"]
    assert cost(FIGURES) == pytest.approx(function + bucket + 12 * prices["sqs"]["request"])
