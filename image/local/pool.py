"""The environments of one function: which one takes an invoke, and when there is none left."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from image.local.errors import SandboxFailed
from image.local.invocation import Call, Invocation
from image.local.refusals import Throttled, Unavailable
from image.local.slot import Slot


class Pool:
    """As many slots as the concurrency allows.

    Args:
        concurrency: Invokes at a time; more are throttled, or wait if they are asynchronous.
        make_slot: Makes an empty slot.
    """

    def __init__(self, concurrency: int, make_slot: Callable[[], Slot]) -> None:
        self._concurrency = concurrency
        self._make_slot = make_slot
        self._idle: list[Slot] = []
        self._slots: set[Slot] = set()  # idle, busy and ending
        self._active: dict[Invocation, Slot | None] = {}
        self._events: deque[Call] = deque()
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

    def enqueue(self, call: Call) -> None:
        """Invoke asynchronously: as soon as there is room, and nobody gets the response.

        Raises:
            Unavailable: The pool is closed.
        """
        if self._closed:
            raise Unavailable()
        self._events.append(call)
        self._drain_events()

    async def close(self) -> None:
        """End every environment; invokes in flight fail."""
        self._closed = True
        self._events.clear()
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
            slot = await self._take()
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
            self._drain_events()

    async def _take(self) -> Slot:
        while True:
            while self._idle:
                slot = self._idle.pop()  # The one used last: as in Lambda, the others may then end.
                if slot.usable:
                    return slot
                self._spawn(self._retire(slot))
            if sum(slot.usable for slot in self._slots) < self._concurrency:
                slot = self._make_slot()
                self._slots.add(slot)
                return slot
            self._changed.clear()
            await self._changed.wait()

    async def _retire(self, slot: Slot) -> None:
        await slot.end(None)
        self._slots.discard(slot)

    def _drain_events(self) -> None:
        while self._events and not self._closed and self._in_flight() < self._concurrency:
            self.submit(self._events.popleft()).abandon()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
