"""What an answer costs under Lambda, in each endpoint's form, in the log and in the metrics."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from handler.artefact import Embeddings
from handler.prices import lambda_rates
from tests.handler.doubles import EMBEDDING_SIZE, ScriptedEngine, Serving, serving
from tests.handler.emf import metrics_of

LAMBDA: dict[str, Any] = {"function_name": "f", "function_memory_mb": 2048, "region": "us-east-1"}
CHAT = {"messages": [{"role": "user", "content": "hi"}]}
ENDPOINTS = [
    ("/v1/chat/completions", CHAT),
    ("/v1/completions", {"prompt": "hi"}),
    ("/v1/responses", {"input": "hi"}),
    ("/v1/messages", {**CHAT, "max_tokens": 20}),
]


def logged(server: Serving, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in server.log.getvalue().splitlines()]
    return [line for line in lines if line["event"] == event]


def priced(timings: dict[str, Any], requests: int = 1) -> float:
    rates = lambda_rates("us-east-1")
    assert rates is not None
    return float(timings["billed_ms"] / 1e3 * 2 * rates.gb_second + requests * rates.request)


@pytest.mark.parametrize(("path", "body"), ENDPOINTS)
def test_an_answer_says_what_it_cost(path: str, body: dict[str, Any]) -> None:
    with serving(**LAMBDA) as server:
        timings = server.client.post(path, json=body).json()["timings"]
    assert timings["billed_ms"] >= math.ceil(timings["first_token_ms"])
    assert timings["estimated_cost_usd"] == pytest.approx(priced(timings), abs=1e-11)


@pytest.mark.parametrize(("path", "body"), ENDPOINTS)
def test_so_does_a_stream(path: str, body: dict[str, Any]) -> None:
    with serving(**LAMBDA) as server:
        lines = server.client.post(path, json=body | {"stream": True}).text.splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    (timings,) = [told["timings"] for event in events if (told := event.get("response", event)).get("timings")]
    assert timings["estimated_cost_usd"] == pytest.approx(priced(timings), abs=1e-11)


@pytest.mark.parametrize(("path", "body"), ENDPOINTS)
def test_outside_of_lambda_nothing_is_billed(path: str, body: dict[str, Any]) -> None:
    with serving(region="us-east-1") as server:
        timings = server.client.post(path, json=body).json()["timings"]
    assert (timings["billed_ms"], timings["estimated_cost_usd"]) == (None, None)


def test_an_unknown_region_has_a_time_and_no_price() -> None:
    with serving(**LAMBDA | {"region": "mars-north-1"}) as server:
        timings = server.client.post("/v1/completions", json={"prompt": "hi"}).json()["timings"]
    assert timings["billed_ms"] > 0
    assert timings["estimated_cost_usd"] is None


def test_choices_are_one_request() -> None:
    with serving(**LAMBDA) as server:
        timings = server.client.post("/v1/completions", json={"prompt": "hi", "n": 3}).json()["timings"]
    assert timings["estimated_cost_usd"] == pytest.approx(priced(timings), abs=1e-11)


def test_log_and_metrics_have_it_to_the_answers_end() -> None:
    with serving(**LAMBDA) as server:
        timings = server.client.post("/v1/completions", json={"prompt": "hi"}).json()["timings"]
    [line], [metrics] = logged(server, "request"), logged(server, "metrics")
    assert timings["billed_ms"] <= line["billed_ms"] <= math.ceil(line["total_ms"])
    assert metrics_of(metrics)["BilledTime"] == line["billed_ms"]
    assert metrics_of(metrics)["EstimatedCost"] == line["estimated_cost_usd"]


def test_embeddings_have_it_in_the_log() -> None:
    with serving(embeddings=Embeddings("mean", EMBEDDING_SIZE), **LAMBDA) as server:
        server.client.post("/v1/embeddings", json={"input": ["a", "b"]})
    [line] = logged(server, "request")
    assert line["estimated_cost_usd"] == pytest.approx(priced(line), abs=1e-11)


def test_a_slow_answer_is_billed_for_its_time() -> None:
    engine = ScriptedEngine()
    engine.gate.clear()
    with (
        serving(engine, **LAMBDA) as server,
        server.client.stream("POST", "/v1/completions", json={"prompt": "hi", "stream": True}) as answer,
    ):
        engine.gate.set()
        answer.read()
    [line] = logged(server, "request")
    assert line["billed_ms"] >= math.ceil(line["first_token_ms"] + line["decode_ms"])
