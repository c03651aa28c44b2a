"""What keeps a silent stream alive."""

from __future__ import annotations

import json

from tests.handler.doubles import ScriptedEngine, serving
from tests.handler.http.test_app import CHAT, QUESTION, adapter_headers, eventually, held, logged

STREAM = QUESTION | {"stream": True}
PING = ": ping"


def test_a_waiting_stream_is_pinged_and_then_answered() -> None:
    with (
        serving(held(), heartbeat_s=0.02, queue=8) as server,
        server.client.stream("POST", CHAT, json=STREAM) as running,
        server.client.stream("POST", CHAT, json=STREAM) as waiting,
    ):
        streams = [running.iter_lines(), waiting.iter_lines()]
        for stream in streams:
            assert [next(stream) for _ in range(4)] == [PING, "", PING, ""]
        server.engine.gate.set()
        rest = [[line for line in stream if line.startswith("data")] for stream in streams]
    for lines in rest:
        assert json.loads(lines[0][6:])["choices"][0]["delta"]["role"] == "assistant"
        assert lines[-1] == "data: [DONE]"


def test_so_is_one_whose_model_is_slow() -> None:
    with (
        serving(ScriptedEngine(hold_after=3), heartbeat_s=0.02) as server,
        server.client.stream("POST", CHAT, json=STREAM) as answer,
    ):
        lines = answer.iter_lines()
        assert next(lines).startswith("data")
        assert PING in lines


def test_a_stream_that_is_not_silent_has_no_pings() -> None:
    with serving(heartbeat_s=20) as server:
        assert PING not in server.client.post(CHAT, json=STREAM).text


def test_a_late_error_behind_a_ping_is_an_event() -> None:
    engine = held()
    engine.fail_after = 0
    with serving(engine, heartbeat_s=0.02) as server:
        with server.client.stream("POST", CHAT, json=STREAM) as answer:
            lines = answer.iter_lines()
            assert next(lines) == PING
            engine.gate.set()
            last = [line for line in lines if line.startswith("data")]
        eventually(lambda: len(logged(server)) == 2)
    assert [json.loads(line[6:])["error"]["code"] for line in last] == ["generation_failed"]
    assert (logged(server)[1]["status"], logged(server)[1]["error"]) == (200, "generation_failed")


def test_heartbeats_that_are_off_leave_it_its_status() -> None:
    with serving(held(), function_name="f", deadline_margin_ms=0, heartbeat_s=0) as server:
        answer = server.client.post(CHAT, json=STREAM, headers=adapter_headers(left_s=0.2))
    assert answer.status_code == 504


def test_a_whole_answer_has_none() -> None:
    with serving(
        ScriptedEngine("hi", hold_after=1), function_name="f", deadline_margin_ms=0, heartbeat_s=0.02
    ) as server:
        answer = server.client.post(CHAT, json=QUESTION, headers=adapter_headers(left_s=0.2))
    assert answer.json()["choices"][0]["message"]["content"] == "h"
