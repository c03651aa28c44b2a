from __future__ import annotations

import json

from handler.api.events import event, json_bytes


def test_an_event_is_one_line() -> None:
    assert event({"a": "é\n"}) == 'data: {"a":"é\\n"}\n\n'.encode()


def test_an_event_may_have_a_name() -> None:
    assert event({}, "ping") == b"event: ping\ndata: {}\n\n"


def test_a_lone_surrogate_stays_an_escape() -> None:
    assert json.loads(json_bytes({"a": "\ud800"})) == {"a": "\ud800"}
