"""The endpoint over a socket: tickets, usage, logs, and who leaves."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from handler.api.embeddings import EmbeddingAnswer
from handler.artefact import Embeddings
from handler.text.deltas import Delta
from tests.handler.doubles import EMBEDDING_SIZE, ScriptedEngine, serving

BODY = {"model": "bytes", "input": ["a", "bcd"]}
FOR_VECTORS = Embeddings("mean", EMBEDDING_SIZE)


def test_vectors_come_in_the_inputs_order_with_their_usage() -> None:
    with serving(embeddings=FOR_VECTORS) as server:
        answer = server.client.post("/v1/embeddings", json=BODY).json()
    assert [[value > 0 for value in one["embedding"]].count(True) for one in answer["data"]] == [2, 4]  # with a BOS
    assert answer["usage"] == {"prompt_tokens": 6, "total_tokens": 6}


def test_the_log_has_the_timings_and_the_texts_if_asked_for() -> None:
    with serving(embeddings=FOR_VECTORS, texts=True) as server:
        server.client.post("/v1/embeddings", json=BODY)
    line = json.loads(server.log.getvalue().splitlines()[-1])
    assert (line["status"], line["prompt_tokens"], line["completion_tokens"]) == (200, 6, 0)
    assert line["prefill_ms"] >= 0
    assert line["prompt"] == ["a", "bcd"]


def test_a_text_artefact_refuses() -> None:
    with serving() as server:
        response = server.client.post("/v1/embeddings", json=BODY)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "no_embeddings")


def test_the_client_that_leaves_ends_the_rest_of_the_inputs() -> None:
    engine = ScriptedEngine()
    engine.gate.clear()
    with serving(engine, embeddings=FOR_VECTORS) as server:
        with pytest.raises(httpx.ReadTimeout):
            server.client.post("/v1/embeddings", json=BODY, timeout=0.5)
        until = time.monotonic() + 20
        while engine.closed < 1 and time.monotonic() < until:
            time.sleep(0.01)
        assert (engine.closed, len(engine.calls)) == (1, 1)


def test_a_request_waits_its_turn_behind_others() -> None:
    engine = ScriptedEngine()
    engine.gate.clear()
    answers: list[Any] = []
    with serving(engine, embeddings=FOR_VECTORS) as server:

        def ask() -> None:
            answers.append(server.client.post("/v1/embeddings", json=BODY).status_code)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        engine.gate.set()
        for thread in threads:
            thread.join(20)
    assert answers == [200] * 3
    assert [len(ids) for ids in engine.calls] == [2, 4] * 3


def test_others_are_answered_while_vectors_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, asked = threading.Event(), threading.Event()
    whole = EmbeddingAnswer.whole

    def slowly(answer: EmbeddingAnswer, choices: Sequence[Delta]) -> dict[str, Any]:
        begun.set()
        assert asked.wait(20)
        return whole(answer, choices)

    monkeypatch.setattr(EmbeddingAnswer, "whole", slowly)
    with serving(embeddings=FOR_VECTORS) as server, ThreadPoolExecutor() as pool:
        answer = pool.submit(server.client.post, "/v1/embeddings", json=BODY)
        assert begun.wait(20)
        try:
            assert server.client.get("/health", timeout=10).status_code == 200
        finally:
            asked.set()
        assert answer.result(20).status_code == 200
