from __future__ import annotations

import asyncio

import pytest

from image.local import invocation
from image.local.errors import FunctionError, ResponseTooLarge, RuntimeExited, StreamTooLarge
from image.local.invocation import Call, Invocation, Pace
from image.local.limits import MIB, RESPONSE_BYTES


def test_the_first_6_mb_are_not_slowed_down() -> None:
    pace = Pace()
    assert [pace.delay_s(3 * MIB, 100.0), pace.delay_s(3 * MIB, 100.0)] == [0, 0]


def test_then_2_mb_take_a_second() -> None:
    pace = Pace()
    pace.delay_s(6 * MIB, 100.0)
    assert pace.delay_s(2 * MIB, 100.0) == 1.0
    assert pace.delay_s(2 * MIB, 101.5) == 0.5
    assert pace.delay_s(2 * MIB, 200.0) == 0.0


def test_a_large_chunk_is_only_slowed_for_what_is_above() -> None:
    assert Pace().delay_s(7 * MIB, 100.0) == 0.5


async def collect(work: Invocation) -> list[bytes]:
    return [chunk async for chunk in work.chunks()]


def test_chunks_stay_apart() -> None:
    async def scenario() -> list[bytes]:
        work = Invocation(Call(b"{}", streaming=True))
        reading = asyncio.create_task(collect(work))
        for chunk in (b"a", b"b"):
            await work.feed(chunk)
        work.end()
        return await reading

    assert asyncio.run(scenario()) == [b"a", b"b"]


def test_what_came_before_a_failure_is_read() -> None:
    async def scenario() -> tuple[list[bytes], FunctionError | None]:
        work = Invocation(Call(b"{}", streaming=True))
        await work.feed(b"a")
        work.fail(RuntimeExited(1))
        return await collect(work), work.error

    chunks, error = asyncio.run(scenario())
    assert chunks == [b"a"]
    assert isinstance(error, RuntimeExited)


def test_only_the_first_failure_counts() -> None:
    async def scenario() -> FunctionError | None:
        work = Invocation(Call(b"{}"))
        work.fail(RuntimeExited(1))
        work.fail(StreamTooLarge())
        return work.error

    assert isinstance(asyncio.run(scenario()), RuntimeExited)


def test_a_buffered_response_is_limited() -> None:
    async def scenario() -> None:
        work = Invocation(Call(b"{}"))
        await work.feed(b"x" * RESPONSE_BYTES)
        await work.feed(b"x")

    with pytest.raises(ResponseTooLarge, match=str(RESPONSE_BYTES + 1)):
        asyncio.run(scenario())


def test_a_stream_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocation, "STREAM_BYTES", 10)

    async def scenario() -> None:
        work = Invocation(Call(b"{}", streaming=True))
        await work.feed(b"x" * 10)
        await work.feed(b"x")

    with pytest.raises(StreamTooLarge):
        asyncio.run(scenario())


def test_the_function_waits_for_a_slow_reader() -> None:
    async def scenario() -> tuple[bool, list[bytes]]:
        work = Invocation(Call(b"{}", streaming=True))
        feeding = asyncio.create_task(work.feed(bytes(invocation.WAITING_BYTES + 1)))
        await asyncio.sleep(0)
        waited = not feeding.done()
        reading = asyncio.create_task(collect(work))
        await feeding
        work.end()
        return waited, await reading

    waited, chunks = asyncio.run(scenario())
    assert waited
    assert len(chunks) == 1


def test_the_function_does_not_wait_for_a_reader_that_left() -> None:
    async def scenario() -> None:
        work = Invocation(Call(b"{}", streaming=True))
        feeding = asyncio.create_task(work.feed(bytes(invocation.WAITING_BYTES + 1)))
        await asyncio.sleep(0)
        work.abandon()
        await feeding
        await work.feed(bytes(invocation.WAITING_BYTES + 1))

    asyncio.run(scenario())
