"""The environments of one function: which one takes an invoke, and when there is none left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from image.local.errors import SandboxFailed
from image.local.invocation import Call, Invocation
from image.local.refusals import Throttled, Unavailable
from image.local.slot import Slot


class Pool:
    """As many slots as the concurrency allows.

    Args:
        concurrency: Invokes at a time; more are throttled.
        make_slot: Makes an empty slot for a version.
    """

    def __init__(self, concurrency: int, make_slot: Callable[[str], Slot]) -> None:
        self._concurrency = concurrency
        self._make_slot = make_slot
        self._idle: list[Slot] = []
        self._slots: set[Slot] = set()  # idle, busy and ending
        self._active: dict[Invocation, Slot | None] = {}
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def submit(self, call: Call) -> Invocation:
        """Begin an invoke.

        Raises:
            Throttled: As many as may are in flight.
            Unavailable: The pool is closed.
        """
        if self._closed:
            raise Unavailable()
        if self._in_flight() >= self._concurrency:
            raise Throttled()
        invocation = Invocation(call)
        self._active[invocation] = None
        self._spawn(self._run(invocation))
        return invocation

    async def close(self) -> None:
        """End every environment; invokes in flight fail."""
        self._closed = True
        invocations = {slot: invocation for invocation, slot in self._active.items() if slot}
        await asyncio.gather(*(slot.end(invocations.get(slot)) for slot in list(self._slots)))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _in_flight(self) -> int:
        # One whose response is complete counts no more, though its environment may still tidy up.
        return sum(not invocation.done.is_set() for invocation in self._active)

    async def _run(self, invocation: Invocation) -> None:
        try:
            slot = await self._take(invocation.call.target.version)
            self._active[invocation] = slot
            await slot.serve(invocation)
            if slot.usable:
                self._idle.append(slot)
            else:
                self._slots.discard(slot)
        except Exception as error:  # Ours, not the function's; whoever waits must learn of it all the same.
            invocation.fail(SandboxFailed(f"{type(error).__name__}: {error}"))
            raise
        finally:
            invocation.finished.set()
            del self._active[invocation]
            self._changed.set()

    async def _take(self, version: str) -> Slot:
        while True:
            while fitting := [slot for slot in self._idle if slot.version == version]:
                slot = fitting[-1]  # The one used last: as in Lambda, the others may then end.
                self._idle.remove(slot)
                if slot.usable:
                    return slot
                self._spawn(self._retire(slot))
            if sum(slot.usable for slot in self._slots) < self._concurrency:
                slot = self._make_slot(version)
                self._slots.add(slot)
                return slot
            if self._idle:  # Another version's environment makes room.
                await self._retire(self._idle.pop(0))
                continue
            self._changed.clear()
            await self._changed.wait()

    async def _retire(self, slot: Slot) -> None:
        await slot.end(None)
        self._slots.discard(slot)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
