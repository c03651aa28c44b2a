"""What the answers of an invocation cost together."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from typing import Any

import pytest

from handler.billing import Bill, Environment
from handler.prices import lambda_rates
from handler.worker.telemetry import Telemetry
from handler.worker.worker import Worker
from tests.handler.doubles import TEMPLATE, ScriptedEngine, byte_model
from tests.handler.worker.messages import batch, failed, message
from tests.handler.worker.stepping import Notebook, SteppedEngine
from tests.handler.worker.test_worker import context

GB = 4.0


def billed_worker(engine: SteppedEngine, results: Notebook, slots: int, service: str) -> Worker:
    bill = Bill(Environment(GB, "us-east-1"))
    model = dataclasses.replace(engine.model(slots), bill=bill)
    return Worker(model, results, Telemetry({"POWERTOOLS_SERVICE_NAME": service}, False, bill), margin_s=0)


def cost(billed_ms: int, requests: int = 1) -> float:
    rates = lambda_rates("us-east-1")
    assert rates is not None
    return billed_ms / 1e3 * GB * rates.gb_second + requests * rates.request


@pytest.mark.parametrize("slots", [1, 4])
def test_a_batchs_results_cost_together_what_its_invocation_costs(slots: int) -> None:
    engine = SteppedEngine()
    results = Notebook(engine)
    worker = billed_worker(engine, results, slots, f"costs-{slots}")
    began = time.perf_counter()
    assert failed(worker.handle(batch(*(message(f"m-{n}", {"prompt": "x" * 30}) for n in range(9))), context())) == []
    took_ms = math.ceil((time.perf_counter() - began) * 1e3)
    timings = [result["timings"] for result in results.results.values()]
    whole_ms = sum(told["billed_ms"] for told in timings)
    assert max(told["decode_ms"] for told in timings) <= whole_ms <= took_ms
    assert sum(told["estimated_cost_usd"] for told in timings) == pytest.approx(cost(whole_ms), abs=1e-10)


def test_a_failed_message_costs_the_others_nothing() -> None:
    engine = SteppedEngine()
    results = Notebook(engine)
    worker = billed_worker(engine, results, 2, "costs-failed")
    assert failed(worker.handle(batch(message("a", {"prompt": "fail"}), message("b", {"prompt": "fine"})), context()))
    [told] = [result["timings"] for result in results.results.values()]
    assert 0 <= told["estimated_cost_usd"] <= cost(told["billed_ms"])
    assert worker._model.bill._open == []


def test_the_log_line_and_the_metrics_have_the_results_figures(capsys: pytest.CaptureFixture[str]) -> None:
    bill = Bill(Environment(GB, "us-east-1"))
    bill.initialized(1000)
    model = dataclasses.replace(byte_model(ScriptedEngine(), 200, TEMPLATE), bill=bill)
    worker = Worker(model, None, Telemetry({"POWERTOOLS_SERVICE_NAME": "costs-log"}, False, bill), margin_s=0)
    timings: dict[str, Any] = worker.handle({"prompt": "hi"}, context())["timings"]
    answered, metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert timings["init_ms"] == answered["init_ms"] == 1000
    assert timings["billed_ms"] == answered["billed_ms"] > 1000
    assert metrics["EstimatedCost"] == [timings["estimated_cost_usd"]] == [answered["estimated_cost_usd"]]
