"""Asynchronous invokes: a queue of events, each tried until it succeeds, has failed too often or is too old.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

from __future__ import annotations

import asyncio
import time

from image.local.destinations import Destinations, Outcome
from image.local.errors import FunctionError
from image.local.invocation import Call, Invocation
from image.local.limits import THROTTLE_MOST_S, THROTTLE_S
from image.local.logs import Log
from image.local.pool import Pool
from image.local.refusals import Throttled, Unavailable
from image.local.settings import Asynchronous


class EventQueue:
    """Invokes what nobody waits for.

    Args:
        settings: How often and for how long it is tried.
        pool: What invokes.
        destinations: What learns of the end.
        log: For retries and ends.
    """

    def __init__(self, settings: Asynchronous, pool: Pool, destinations: Destinations, log: Log) -> None:
        self._settings = settings
        self._pool = pool
        self._destinations = destinations
        self._log = log
        self._reading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def enqueue(self, call: Call) -> None:
        """Take an event.

        Raises:
            Unavailable: The queue is closed.
        """
        if self._closed:
            raise Unavailable()
        task = asyncio.get_running_loop().create_task(self._run(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Take no more; what isn't finished is lost."""
        self._closed = True
        if self._tasks:
            self._log.event("events_lost", count=len(self._tasks))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, call: Call) -> None:
        outcome = await self._try(call, time.monotonic() + self._settings.max_age_s)
        for failure in await self._destinations.deliver(outcome):
            self._log.event("destination_failed", request_id=call.request_id, reason=failure)
        if outcome.condition != "Success":
            self._log.event(
                "event_dropped", request_id=call.request_id, condition=outcome.condition, invokes=outcome.invokes
            )

    async def _try(self, call: Call, deadline: float) -> Outcome:
        invokes, response, error = 0, None, None
        delay_s = self._settings.retry_delay_s
        while (invocation := await self._submit(call, deadline)) is not None:
            invokes += 1
            response, error = await _finish(invocation)
            if error is None:
                return Outcome(call, "Success", invokes, response, failed=False)
            if invokes > self._settings.retries:
                return Outcome(call, "RetriesExhausted", invokes, response, failed=True)
            self._log.event("event_retry", request_id=call.request_id, error=error.type, delay_s=delay_s)
            await asyncio.sleep(min(delay_s, max(0.0, deadline - time.monotonic())))
            delay_s *= 2
        return Outcome(call, "EventAgeExceeded", invokes, response, failed=error is not None)

    async def _submit(self, call: Call, deadline: float) -> Invocation | None:
        """Begin an attempt; return None if the event got too old."""
        delay_s = THROTTLE_S
        async with self._reading:  # While one is throttled, no more are read, as in Lambda's queue.
            while (left_s := deadline - time.monotonic()) > 0:
                try:
                    return self._pool.submit(call)
                except Throttled:
                    await asyncio.sleep(min(delay_s, left_s))
                    delay_s = min(2 * delay_s, THROTTLE_MOST_S)
        return None


async def _finish(invocation: Invocation) -> tuple[bytes, FunctionError | None]:
    try:
        return await invocation.whole(), invocation.error
    finally:
        invocation.abandon()
