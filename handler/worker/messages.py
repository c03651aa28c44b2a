"""The messages of one batch: each from its job to its kept result, beside the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypeVar

from handler.deadline import Deadline
from handler.errors import DeadlineExceeded, NotEnoughTime
from handler.generation import prepare
from handler.model import Model
from handler.worker.answering import answered
from handler.worker.jobs import Job, message_job
from handler.worker.results import Result, Results, cut_off
from handler.worker.running import Running
from handler.worker.telemetry import Telemetry

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

T = TypeVar("T")


class Messages:
    """Answers messages; `batch.Answers`.

    Args:
        model: What answers.
        results: Where results are kept, as soon as there are any.
        telemetry: Who is told.
        running: Says who may begin.
        deadline: When all must be at its end.
        pool: Asks for results and keeps them, so that no step waits for the network.
    """

    def __init__(
        self,
        model: Model,
        results: Results,
        telemetry: Telemetry,
        running: Running,
        deadline: Deadline,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._model = model
        self._results = results
        self._telemetry = telemetry
        self._running = running
        self._deadline = deadline
        self._pool = pool
        self._calls: set[Future[Any]] = set()
        self._keys: set[str] = set()

    def answer(self, record: SQSRecord) -> Generator[None, None, None]:
        """Answer a message and keep the result.

        Raises:
            Exception: There is none; the message goes back to its queue.
        """
        job = message_job(record, self._model.served)
        key = job.idempotency_key
        assert key is not None
        while key in self._keys:  # Two of one key are one job, so the second looks for the first one's result.
            yield
        self._keys.add(key)
        try:
            if (yield from self._elsewhere(lambda: self._results.has(key))):
                self._telemetry.repeated(job)
                return
            result = yield from self._whole(job)
            yield from self._elsewhere(lambda: self._results.keep(key, result))
        finally:
            self._keys.remove(key)

    def step(self) -> None:
        """Bring the answers forward; without any, wait for what happens in the pool."""
        if self._running:
            self._running.note_step()
            self._model.step()
        else:
            wait(self._calls, return_when=FIRST_COMPLETED)

    def failed(self, record: SQSRecord, error: Exception) -> None:
        """Tell why a message comes back."""
        self._telemetry.failed("sqs", record.message_id, error)

    def _whole(self, job: Job) -> Generator[None, None, Result]:
        generation = prepare(self._model, job.request, job.id, time.perf_counter(), self._deadline)
        while not self._running.admits(generation):
            yield
        generation.meter.received_at = time.perf_counter()  # What it waited for here is no part of its first token.
        try:
            with self._running.beginning(generation) as entry:
                result = yield from answered(self._model, job, generation, self._telemetry)
        except DeadlineExceeded:
            raise NotEnoughTime(self._deadline.left_s()) from None
        self._running.learn(entry, result["timings"])
        if cut_off(result):
            raise NotEnoughTime(self._deadline.left_s())
        return result

    def _elsewhere(self, call: Callable[[], T]) -> Generator[None, None, T]:
        """Make a call in the pool, while others go on."""
        future = self._pool.submit(call)
        self._calls.add(future)
        try:
            while not future.done():
                yield
        finally:
            self._calls.remove(future)
        return future.result()
