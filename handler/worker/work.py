"""What the messages of one batch have in common: an engine that answers, threads that call, keys that are taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from handler.deadline import Deadline
from handler.errors import DeadlineExceeded, NotEnoughTime
from handler.generation import prepare
from handler.model import Model
from handler.worker.answering import answered
from handler.worker.jobs import Job
from handler.worker.results import Result, cut_off
from handler.worker.running import Running
from handler.worker.telemetry import Telemetry

T = TypeVar("T")


class Work:
    """Answers jobs beside one another, within one invocation.

    Args:
        model: What answers.
        telemetry: Who is told.
        running: Says who may begin.
        deadline: When all must be at its end.
        pool: Makes the calls to elsewhere, so that no step waits for the network.
    """

    def __init__(
        self, model: Model, telemetry: Telemetry, running: Running, deadline: Deadline, pool: ThreadPoolExecutor
    ) -> None:
        self.model = model
        self.telemetry = telemetry
        self._running = running
        self._deadline = deadline
        self._pool = pool
        self._calls: set[Future[Any]] = set()
        self._keys: set[str] = set()

    def alone(self, key: str, work: Callable[[], Generator[None, None, T]]) -> Generator[None, None, T]:
        """Do something while nobody else does it for the same key: two of one key are one job."""
        while key in self._keys:
            yield
        self._keys.add(key)
        try:
            return (yield from work())
        finally:
            self._keys.remove(key)

    def whole(self, job: Job) -> Generator[None, None, Result]:
        """Answer a job, as soon as there is a place for it.

        Raises:
            NotEnoughTime: It isn't whole before the deadline, or wouldn't be.
            ApiError: It is refused.
        """
        generation = prepare(self.model, job.request, job.id, time.perf_counter(), self._deadline)
        while not self._running.admits(generation):
            yield
        generation.meter.received_at = time.perf_counter()  # What it waited for here is no part of its first token.
        try:
            with self._running.beginning(generation) as entry:
                result = yield from answered(self.model, job, generation, self.telemetry)
        except DeadlineExceeded:
            raise NotEnoughTime(self._deadline.left_s()) from None
        self._running.learn(entry, result["timings"])
        if cut_off(result):
            raise NotEnoughTime(self._deadline.left_s())
        return result

    def elsewhere(self, call: Callable[[], T]) -> Generator[None, None, T]:
        """Make a call in the pool, while others go on."""
        [value] = yield from self.all_elsewhere([call])
        return value

    def all_elsewhere(self, calls: Sequence[Callable[[], T]]) -> Generator[None, None, list[T]]:
        """Make several calls in the pool, as many at a time as it has threads."""
        futures = [self._pool.submit(call) for call in calls]
        for future in futures:
            self._calls.add(future)  # only the one that is waited for: `step` returns as soon as any of them is done
            try:
                while not future.done():
                    yield
            finally:
                self._calls.remove(future)
        return [future.result() for future in futures]

    def step(self) -> None:
        """Bring the answers forward; without any, wait for what happens in the pool."""
        if self._running:
            self._running.note_step()
            self.model.step()
        else:
            wait(self._calls, return_when=FIRST_COMPLETED)
