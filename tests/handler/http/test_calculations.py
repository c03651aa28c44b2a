"""Paths whose answers need no engine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from handler.api.endpoint import Calculation
from handler.api.options import Served
from handler.api.prompt import Prompts
from handler.api.schemas import STRING, Description, object_of
from handler.errors import ApiError, MissingParameter
from tests.handler.doubles import BOS, ScriptedEngine, serving


def encode(values: Mapping[str, Any], served: Served, prompts: Prompts) -> dict[str, Any]:
    if "text" not in values:
        raise MissingParameter("text")
    return {"model": served.model_id, "ids": prompts.tokenizer.encode_prompt(values["text"])}


def described() -> Description:
    return Description("Encode", "Text", "Ids", {"Text": object_of(["text"], text=STRING), "Ids": object_of([])})


def refusal(error: ApiError) -> dict[str, Any]:
    return {"refused": error.param}


@pytest.fixture(autouse=True)
def one_calculation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.http.app.CALCULATIONS", (Calculation("/encode", encode, described, refusal),))


def test_the_answer_is_the_object_that_was_computed() -> None:
    with serving() as server:
        answer = server.client.post("/encode", json={"text": "hi"})
    assert answer.json() == {"model": "owner/bytes", "ids": [BOS, *b"hi"]}


def test_what_is_refused_has_the_calculations_form() -> None:
    with serving() as server:
        answer = server.client.post("/encode", json={})
    assert (answer.status_code, answer.json()) == (400, {"refused": "text"})


def test_it_wants_the_key_and_posts() -> None:
    with serving(api_key="secret") as server:
        answers = [server.client.post("/encode"), server.client.get("/encode", headers={"x-api-key": "secret"})]
    assert [answer.status_code for answer in answers] == [401, 405]


def test_bodies_and_answers_have_limits() -> None:
    with serving(max_body=100, max_response=1024) as server:
        assert server.client.post("/encode", json={"text": "x" * 200}).status_code == 413
    with serving(max_response=1024) as server:
        answer = server.client.post("/encode", json={"text": "x" * 2000})
    assert answer.json() == {"refused": "max_tokens"}


def test_it_waits_for_no_engine() -> None:
    engine = ScriptedEngine()
    engine.gate.clear()
    question = {"model": "bytes", "prompt": "a"}
    with serving(engine, queue=0) as server, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.client.post, "/v1/completions", json=question)
        while not engine.calls:
            time.sleep(0.005)
        assert server.client.post("/encode", json={"text": "hi"}).status_code == 200
        engine.gate.set()
        assert asked.result().status_code == 200


def test_its_description_is_among_the_others() -> None:
    with serving() as server:
        description = server.client.get("/openapi.json").json()
    operation = description["paths"]["/encode"]["post"]
    assert operation["summary"] == "Encode"
    assert sorted(operation["responses"]) == ["200", "400", "401", "404", "408", "413", "415", "431", "500", "505"]
    assert "Text" in description["components"]["schemas"]
