"""A few generations at a time in one worker thread, and a short first-in-first-out queue in front of it.

All state lives on the event loop; the worker thread only pulls the generators in turns and hands their items over.
Items wait in memory for a slow reader (an answer's tokens bound their number), so nobody's connection holds the engine
up.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Generic, TypeVar

from handler.engine.cancellation import Cancellable
from handler.errors import ApiError, Cancelled, QueueFull, ShuttingDown
from handler.turns import Turns, Work

T = TypeVar("T")
LONGEST_RETRY_AFTER_S = 60


class Ticket(Generic[T]):
    """One generation's place, first in the queue, then in the worker thread.

    Args:
        work: Makes the generator, in the worker thread.
        cancellation: Ends it, in the middle of a step if need be.
        wants: How many slots it can use; it runs as soon as it gets one.

    Attributes:
        slots: How many it may use now. It is given more when they are free; those that it has are its own until it
            wants fewer.
    """

    def __init__(self, work: Work[T], cancellation: Cancellable, wants: int = 1) -> None:
        self.work = work
        self.wants = wants
        self.slots = 0
        self._cancellation = cancellation
        self._items: asyncio.Queue[T | None] = asyncio.Queue()
        self._error: Exception | None = None
        self._reason: ApiError | None = None
        self._ended = False

    async def items(self) -> AsyncIterator[T]:
        """Give the generator's items as they come.

        Raises:
            ApiError: The reason of the cancellation.
            Exception: What the generator raised.
        """
        while (item := await self._items.get()) is not None:
            yield item
        if self._error is not None:
            raise self._error

    def cancel(self, reason: ApiError) -> None:
        """End the generation; its reader gets the reason, unless all is done already."""
        self._reason = self._reason or reason
        self._cancellation.cancel()

    @property
    def cancelled(self) -> bool:
        """Whether someone has asked for the end."""
        return self._reason is not None

    def deliver(self, item: T) -> None:
        """Take an item over from the worker thread."""
        self._items.put_nowait(item)

    def end(self, error: Exception | None) -> None:
        """There will be no more items."""
        if self._ended:
            return
        self._ended = True
        self._error = self._reason if isinstance(error, Cancelled) and self._reason else error
        self._items.put_nowait(None)


class Scheduler(Generic[T]):
    """Runs tickets, a few at a time, in one thread.

    Args:
        queue: How many tickets may wait.
        slots: How many may be used at a time.
        step: Brings those forward that give None; never called where none does.
    """

    def __init__(self, queue: int, slots: int = 1, step: Callable[[], None] = lambda: None) -> None:
        self._queue = queue
        self._slots = slots
        self._step = step
        self._waiting: deque[Ticket[T]] = deque()
        self._running: dict[Ticket[T], None] = {}  # the oldest first
        self._worker_jobs: SimpleQueue[_Job[T]] | None = None
        self._typical_s = 1.0
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = False

    def check_room(self) -> None:
        """Refuse early what would be refused by `submit`.

        Raises:
            QueueFull: As many are waiting as may wait.
            ShuttingDown: `drain` was called.
        """
        if self.draining:
            raise ShuttingDown()
        if not self._free and len(self._waiting) >= self._queue:
            expected_s = math.ceil(self._typical_s * (len(self._waiting) + 1) / self._slots)
            raise QueueFull(len(self._waiting), min(max(expected_s, 1), LONGEST_RETRY_AFTER_S))

    @property
    def _free(self) -> int:
        return self._slots - sum(ticket.slots for ticket in self._running)

    def submit(self, ticket: Ticket[T]) -> None:
        """Start the ticket's work, or let it wait.

        Raises:
            QueueFull: As many are waiting as may wait.
            ShuttingDown: `drain` was called.
        """
        self.check_room()
        self._waiting.append(ticket)
        self._idle.clear()
        self._start_next()

    def cancel(self, ticket: Ticket[T], reason: ApiError) -> None:
        """End a ticket's work, or take it out of the queue."""
        ticket.cancel(reason)
        self.withdraw(ticket, reason)

    def withdraw(self, ticket: Ticket[T], reason: ApiError) -> None:
        """Take a ticket out of the queue, if it still waits there."""
        if ticket in self._waiting:
            self._waiting.remove(ticket)
            ticket.cancel(reason)
            ticket.end(Cancelled())
            self._start_next()

    def want(self, ticket: Ticket[T], wants: int) -> None:
        """Tell how many slots a running ticket still can use, one at least; it uses no more than that already."""
        ticket.wants = max(1, wants)
        ticket.slots = min(ticket.slots, ticket.wants)
        self._start_next()

    async def idle(self) -> None:
        """Wait until nothing waits or runs."""
        await self._idle.wait()

    async def drain(self, grace_s: float) -> None:
        """Take no more, wait for what is here, and after the grace period end it."""
        self.draining = True
        try:
            await asyncio.wait_for(self._idle.wait(), grace_s)
        except TimeoutError:
            for ticket in [*self._waiting, *self._running]:
                self.cancel(ticket, ShuttingDown())
            await self._idle.wait()

    def _start_next(self) -> None:
        while self._waiting and self._free:
            ticket = self._waiting.popleft()
            ticket.slots = 1
            self._running[ticket] = None
            self._jobs().put(_Job(ticket, asyncio.get_running_loop()))
        for ticket in self._running:
            ticket.slots += min(self._free, ticket.wants - ticket.slots)
        if not self._running:
            self._idle.set()

    def _jobs(self) -> SimpleQueue[_Job[T]]:
        if self._worker_jobs is None:
            self._worker_jobs = SimpleQueue()
            # A daemon: were a step stuck in native code, the process could still end.
            threading.Thread(target=self._work, args=(self._worker_jobs,), name="engine", daemon=True).start()
        return self._worker_jobs

    def _work(self, jobs: SimpleQueue[_Job[T]]) -> None:
        turns: Turns[_Job[T], T] = Turns(self._step)
        while True:
            while not turns or not jobs.empty():
                job = jobs.get()
                job.started_at = time.perf_counter()
                turns.add(job, job.ticket.work)
            for job, error in turns.round(_Job.deliver).items():
                with suppress(RuntimeError):  # The loop is closed: nobody is left to tell.
                    seconds = time.perf_counter() - job.started_at
                    job.loop.call_soon_threadsafe(self._finish, job.ticket, error, seconds)

    def _finish(self, ticket: Ticket[T], error: Exception | None, seconds: float) -> None:
        self._typical_s += (seconds - self._typical_s) / 4
        self._running.pop(ticket, None)
        ticket.end(error)
        self._start_next()


class _Job(Generic[T]):
    """A ticket in the thread's hands."""

    def __init__(self, ticket: Ticket[T], loop: asyncio.AbstractEventLoop) -> None:
        self.ticket = ticket
        self.loop = loop
        self.started_at = 0.0

    def deliver(self, item: T) -> None:
        """Hand an item over to the ticket's reader.

        Raises:
            Cancelled: Nobody wants it any more.
        """
        if self.ticket.cancelled:
            raise Cancelled()
        self.loop.call_soon_threadsafe(self.ticket.deliver, item)
