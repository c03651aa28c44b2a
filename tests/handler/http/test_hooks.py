"""SnapStart's hooks over HTTP, as the Web Adapter calls them and as others try to."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from handler.snapshot import Snapshot
from tests.handler.doubles import Serving, serving

BEFORE, AFTER = "/snapshot/before", "/snapshot/after"
PATHS: dict[str, Any] = {"before_checkpoint": BEFORE, "after_restore": AFTER, "function_name": "stream"}


@dataclass
class Restored:
    """A server that comes from a snapshot, and what its actions did."""

    server: Serving
    done: list[str]
    snapshot: Snapshot


@pytest.fixture
def restored() -> Iterator[Restored]:
    done: list[str] = []
    snapshot = Snapshot()
    snapshot.on_before(lambda: done.append("before"))
    snapshot.on_after(lambda: done.append("after"))
    with serving(snapshot=snapshot, api_key="key", **PATHS) as server:
        yield Restored(server, done, snapshot)


def invoked() -> dict[str, str]:
    """What the adapter adds to each request that comes through an invocation."""
    context = {"request_id": "11111111-2222", "deadline": int((time.time() + 60) * 1e3)}
    return {"x-amzn-lambda-context": json.dumps(context)}


@pytest.mark.parametrize(("path", "name"), [(BEFORE, "before"), (AFTER, "after")])
def test_the_adapter_calls_without_a_key(restored: Restored, path: str, name: str) -> None:
    answer = restored.server.client.post(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert restored.done == [name]


def test_a_hooks_connection_isnt_kept(restored: Restored) -> None:
    assert restored.server.client.post(BEFORE).headers["connection"] == "close"


@pytest.mark.parametrize("path", [BEFORE, AFTER, "/" + BEFORE, BEFORE + "/"])
@pytest.mark.parametrize("header", [None, "nonsense"])
def test_nobody_outside_reaches_a_hook(restored: Restored, path: str, header: str | None) -> None:
    headers = invoked() if header is None else {"x-amzn-lambda-context": header}
    answer = restored.server.client.post(path, headers=headers)
    assert answer.status_code == 401
    assert "before" not in restored.done


def test_with_the_key_a_hook_is_no_path(restored: Restored) -> None:
    answer = restored.server.client.post(BEFORE, headers={**invoked(), "x-api-key": "key"})
    assert answer.status_code == 404
    assert "before" not in restored.done


def test_a_hook_is_no_page(restored: Restored) -> None:
    assert restored.server.client.get(BEFORE, headers={"x-api-key": "key"}).status_code == 404
    assert restored.done == []


def test_without_hooks_the_first_invocation_finds_out(restored: Restored) -> None:
    headers = {**invoked(), "x-api-key": "key"}
    for _ in range(2):
        assert restored.server.client.get("/v1/models", headers=headers).status_code == 200
    assert restored.done == ["after"]


def test_the_adapters_probes_restore_nothing(restored: Restored) -> None:
    assert restored.server.client.get("/health").status_code == 200
    assert restored.done == []


def test_an_action_that_fails_fails_the_hook(restored: Restored) -> None:
    restored.snapshot.on_after(lambda: json.loads("{"))
    assert restored.server.client.post(AFTER).status_code == 500
    events = [json.loads(line) for line in restored.server.log.getvalue().splitlines()]
    assert [event["type"] for event in events if event["event"] == "failure"] == ["JSONDecodeError"]


def test_without_snapstart_there_is_no_hook() -> None:
    with serving(**PATHS) as server:
        assert server.client.post(AFTER).status_code == 404
