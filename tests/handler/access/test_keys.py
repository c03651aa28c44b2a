from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest

from handler.access.api_key import key_reader
from handler.access.keys import LOST_S, RETRY_S, AnyKey, FixedKey, SecretKey
from handler.errors import SecretMissing
from handler.logs import Log
from tests.handler.secrets_manager import NAME, SecretsManager

TTL_S = 300.0


class Clock:
    """A wall clock that stands until the test moves it."""

    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


class Holder:
    """A secret's key, read by SecretKey from moto, on a clock of the test's."""

    def __init__(self, secrets: SecretsManager) -> None:
        self.secrets = secrets
        self.clock = Clock()
        self.log = StringIO()
        self.keys = SecretKey(key_reader(NAME, secrets.environ()), TTL_S, Log(self.log), self.clock)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


@pytest.fixture
def holder(secrets: SecretsManager) -> Holder:
    return Holder(secrets)


def ask(*asked: Callable[[], Any]) -> list[bool]:
    """What is accepted, one after the other in one event loop; waits for the refresh at the end."""

    async def run() -> list[bool]:
        answers = [await question() for question in asked]
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
        return answers

    return asyncio.run(run())


def accepts(holder: Holder, *given: str) -> list[bool]:
    return ask(*(lambda key=key: holder.keys.accepts(key.encode()) for key in given))


def test_any_key_is_any_key() -> None:
    assert ask(lambda: AnyKey().accepts(b""), lambda: AnyKey().accepts(b"x")) == [True, True]


def test_a_fixed_key_is_that_key() -> None:
    key = FixedKey("key")
    assert ask(*(lambda given=given: key.accepts(given) for given in (b"key", b"", b"ke", b"\xff"))) == [
        True,
        False,
        False,
        False,
    ]


def test_the_secrets_key_is_accepted_and_no_other(holder: Holder) -> None:
    assert accepts(holder, "first", "other", "") == [True, False, False]


def test_a_young_key_is_not_read_again(holder: Holder) -> None:
    holder.clock.now += TTL_S - 1
    assert accepts(holder, "first", "first") == [True, True]
    assert holder.secrets.reads == 1


def test_the_new_key_works_at_once_and_the_old_one_no_more(holder: Holder) -> None:
    holder.secrets.put("second")
    holder.clock.now += RETRY_S
    assert accepts(holder, "first", "second", "first") == [True, True, False]
    assert holder.secrets.reads == 2


def test_an_old_key_passes_while_it_is_read_anew(holder: Holder) -> None:
    holder.secrets.put("second")
    holder.secrets.open.clear()
    holder.clock.now += TTL_S

    async def run() -> None:
        assert await holder.keys.accepts(b"first")
        assert await holder.keys.accepts(b"first")  # The read still waits.
        holder.secrets.open.set()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
        assert not await holder.keys.accepts(b"first")

    asyncio.run(run())
    assert holder.secrets.reads == 2


def test_after_a_long_freeze_a_key_waits_for_the_secret(holder: Holder) -> None:
    holder.secrets.put("second")
    holder.clock.now += 2 * TTL_S
    assert accepts(holder, "first", "second") == [False, True]


def test_a_clock_that_was_set_back_does_not_keep_a_key_young(holder: Holder) -> None:
    holder.secrets.put("second")
    holder.clock.now -= 1000
    assert accepts(holder, "first", "second") == [False, True]


def test_strangers_cause_one_call(holder: Holder) -> None:
    holder.clock.now += RETRY_S

    async def flood() -> list[bool]:
        return await asyncio.gather(*(holder.keys.accepts(b"stranger-%d" % n) for n in range(200)))

    assert not any(asyncio.run(flood()))
    assert accepts(holder, "another", "first") == [False, True]
    assert holder.secrets.reads == 2


def test_strangers_without_a_key_cause_none(holder: Holder) -> None:
    holder.clock.now += 10 * TTL_S
    assert accepts(holder, "") == [False]
    assert holder.secrets.reads == 1


def test_a_stranger_who_waits_holds_up_nobody(holder: Holder) -> None:
    holder.secrets.open.clear()
    holder.clock.now += RETRY_S

    async def run() -> None:
        stranger = asyncio.create_task(holder.keys.accepts(b"stranger"))
        await asyncio.sleep(0)
        assert await holder.keys.accepts(b"first")
        assert not stranger.done()
        holder.secrets.open.set()
        assert not await stranger

    asyncio.run(run())


def test_a_request_does_not_wait_for_ever(holder: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.access.keys.WAIT_S", 0.01)
    holder.secrets.open.clear()
    holder.clock.now += 2 * TTL_S

    async def run() -> list[bool]:
        answers = [await holder.keys.accepts(key) for key in (b"first", b"second")]
        holder.secrets.open.set()
        return answers

    assert asyncio.run(run()) == [True, False]


def test_a_refresh_that_fails_keeps_the_old_key_and_is_told_once(holder: Holder) -> None:
    holder.secrets.delete()
    holder.clock.now += 2 * TTL_S
    assert accepts(holder, "first", "first", "other") == [True, True, False]
    [event] = holder.events()
    assert (event["event"], event["type"]) == ("api_key_refresh_failed", "SecretMissing")
    assert NAME in event["reason"]


def test_after_a_failure_it_is_tried_again(holder: Holder) -> None:
    holder.secrets.put("geheim\n")
    holder.clock.now += TTL_S
    assert accepts(holder, "first") == [True]
    holder.secrets.put("second")
    holder.clock.now += RETRY_S - 1
    assert accepts(holder, "second") == [False]
    holder.clock.now += 1
    assert accepts(holder, "second") == [True]
    assert "geheim" not in holder.log.getvalue()


def test_a_read_that_was_frozen_is_not_waited_for_and_changes_nothing() -> None:
    clock, frozen = Clock(), threading.Event()
    texts = iter(["first", "stale", "second"])

    def read() -> str:
        text = next(texts)
        if text == "stale":
            assert frozen.wait(60)
        return text

    keys = SecretKey(read, TTL_S, Log(StringIO()), clock)

    async def run() -> list[bool]:
        clock.now += TTL_S
        answers = [await keys.accepts(b"first")]  # begins the read that is frozen
        await asyncio.sleep(0)
        clock.now += LOST_S
        answers.append(await keys.accepts(b"second"))
        frozen.set()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
        return [*answers, await keys.accepts(b"second")]

    assert asyncio.run(run()) == [True, True, True]


def test_what_cannot_be_read_at_the_start_is_an_error(secrets: SecretsManager) -> None:
    with pytest.raises(SecretMissing):
        SecretKey(key_reader("other", secrets.environ()), TTL_S, Log(StringIO()))


def test_an_unexpected_error_is_not_quoted() -> None:
    clock, log = Clock(), StringIO()
    texts: list[str] = ["first"]
    keys = SecretKey(texts.pop, TTL_S, Log(log), clock)

    async def run() -> bool:
        clock.now += 2 * TTL_S
        return await keys.accepts(b"first")

    assert asyncio.run(run())
    assert json.loads(log.getvalue())["type"] == "IndexError"


def test_after_a_restore_no_key_passes_unread(holder: Holder) -> None:
    holder.secrets.put("second")
    holder.keys.doubt()
    assert accepts(holder, "first", "second") == [False, True]
