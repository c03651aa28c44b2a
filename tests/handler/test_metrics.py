from __future__ import annotations

import json
import time
from io import StringIO
from typing import Any

import pytest

from handler.logs import Log, Record
from handler.metrics import TIMINGS, UNITS, Metrics, answer_values, embedded, request_values
from tests.handler.emf import metrics_of

TIMED = {"prompt_tokens": 3, "prefill_ms": 1.5, "first_token_ms": 2, "queue_ms": 0.0, "completion_tokens": 1}


def record(status: int | None = 200, error: str | None = None, **others: Any) -> Record:
    return Record("id", "POST", "/v1/completions", status=status, error=error, **others)


def test_all_metrics_are_in_cloudwatchs_format() -> None:
    values = dict.fromkeys(UNITS, 1.5)
    line = json.loads(json.dumps(embedded("Firebrick", "firebrick-stream", values, time.time())))
    assert metrics_of(line) == values
    assert line["service"] == "firebrick-stream"


def test_an_answers_values_are_its_timings() -> None:
    timings = {name: float(index) for index, name in enumerate(TIMINGS.values())}
    assert answer_values(timings) == {"Answers": 1, **dict(zip(TIMINGS, timings.values(), strict=True))}


def test_a_time_that_is_not_known_has_no_metric() -> None:
    assert "DecodeTokensPerSecond" not in answer_values({**TIMED, "decode_tokens_per_second": None})


@pytest.mark.parametrize(
    ("made", "values"),
    [
        (record(), {}),
        (record(401, "invalid_api_key"), {"Refusals": 1}),
        (record(429, "queue_full"), {"Refusals": 1}),
        (record(501, "events_not_taken"), {"Failures": 1}),
        (record(504, "deadline_exceeded", timings=TIMED), {"Failures": 1}),
        (record(None), {"Failures": 1}),
        (record(200, "response_too_large", timings=TIMED), {"Failures": 1}),
        (record(200, "client_gone", timings=TIMED), {}),
        (record(499, "client_gone"), {}),
    ],
)
def test_every_end_is_one_of_three_or_none(made: Record, values: dict[str, float]) -> None:
    assert request_values(made) == values


def test_the_first_request_tells_of_the_cold_start() -> None:
    text = StringIO()
    metrics = Metrics(Log(text), "Own", "mine")
    metrics.ready(412.5)
    metrics.request(record())  # makes no metrics
    metrics.request(record(400, "invalid_type"))
    metrics.request(record(timings=TIMED))
    first, second = [json.loads(line) for line in text.getvalue().splitlines()]
    assert metrics_of(first) == {"Refusals": 1, "ColdStart": 1, "ReadyTime": 412.5}
    assert metrics_of(second).keys() == answer_values(TIMED).keys()
    assert (first["_aws"]["CloudWatchMetrics"][0]["Namespace"], first["service"]) == ("Own", "mine")


def test_a_restored_process_tells_of_its_restore_and_not_of_the_start_before() -> None:
    text = StringIO()
    metrics = Metrics(Log(text), "Own", "mine")
    metrics.ready(412.5)
    metrics.restored(1.5)
    metrics.request(record(400, "invalid_type"))
    assert metrics_of(json.loads(text.getvalue())) == {"Refusals": 1, "ColdStart": 1, "RestoreTime": 1.5}
