"""Event → jobs → results, within the time that the invocation has: an invoke's job alone, a batch's side by side."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

from handler.deadline import Deadline
from handler.errors import (
    ApiError,
    DocumentsUnconfigured,
    GenerationFailed,
    ResponseTooLarge,
    ResultsBucketMissing,
    UnknownEvent,
)
from handler.generation import Generation, prepare
from handler.model import Model
from handler.worker.answering import answered, finish
from handler.worker.batch import answer_batch
from handler.worker.events import Batch, HttpEvent, Invoke, read_event
from handler.worker.jobs import Job, invoke_job
from handler.worker.messages import Messages
from handler.worker.pace import Pace
from handler.worker.results import Result, Results, cut_off
from handler.worker.running import Running
from handler.worker.telemetry import Telemetry
from handler.worker.work import Work

if TYPE_CHECKING:
    from handler.worker.documents.documents import Desk, Documents
    from handler.worker.web import Web

LARGEST_ANSWER = 6 * 2**20  # bytes that Lambda takes as the answer of an invocation
CALLS_AT_ONCE = 4  # to where results are kept


class Context(Protocol):
    """What is used of Lambda's context."""

    @property
    def aws_request_id(self) -> str: ...
    def get_remaining_time_in_millis(self) -> int: ...


class Worker:
    """Answers one event at a time.

    Args:
        model: What answers.
        results: Where results are kept; None keeps none.
        telemetry: Who is told.
        margin_s: What is left for the last bytes before Lambda ends the invocation.
        pace: What is known of the engine's speed.
        make_web: Makes what answers HTTP events, with the first of them; None refuses them.
        make_desk: Makes what documents need, with the first of them; None refuses them.
    """

    def __init__(
        self,
        model: Model,
        results: Results | None,
        telemetry: Telemetry,
        margin_s: float,
        pace: Pace | None = None,
        make_web: Callable[[], Web] | None = None,
        make_desk: Callable[[], Desk] | None = None,
    ) -> None:
        self._model = model
        self._results = results
        self._telemetry = telemetry
        self._margin_s = margin_s
        self._pace = pace or Pace()
        self._make_web = make_web
        self._web: Web | None = None
        self._make_desk = make_desk
        self._desk: Desk | None = None

    def handle(self, event: object, context: Context) -> Any:
        """Answer an event.

        Returns:
            The result of a plain invoke; the partial batch response of a batch; the response to an HTTP request.

        Raises:
            ApiError: There is no result, or the event is none that can be answered at all.
        """
        deadline = Deadline(time.time() + context.get_remaining_time_in_millis() / 1e3 - self._margin_s)
        with self._telemetry.invocation(context.aws_request_id):
            try:
                return self._answer(event, context.aws_request_id, deadline)
            except Exception as error:
                self._telemetry.failed("invoke", context.aws_request_id, error)
                if isinstance(error, ApiError):
                    raise
                raise GenerationFailed() from error

    def _answer(self, event: object, request_id: str, deadline: Deadline) -> Any:
        read = read_event(event)
        if isinstance(read, Invoke):
            return self._answer_invoke(invoke_job(read.values, request_id, self._model.served), deadline)
        if isinstance(read, HttpEvent):
            return self._answer_http(read, request_id, deadline)
        return self._answer_batch(read, _required(self._results, "SQS messages"), deadline)

    def _answer_batch(self, batch: Batch, results: Results, deadline: Deadline) -> dict[str, Any]:
        running = Running(self._pace, deadline, self._model.room, self._model.slots)
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            work = Work(self._model, self._telemetry, running, deadline, pool)
            messages = Messages(work, results, lambda: self._documents(work, results))
            return answer_batch(batch, messages, self._model.slots)

    def _documents(self, work: Work, results: Results) -> Documents:
        from handler.worker.documents.documents import Documents  # which most queues never bring

        if self._desk is None:
            if self._make_desk is None:
                raise DocumentsUnconfigured()
            self._desk = self._make_desk()
        return Documents(work, results, self._desk)

    def _answer_http(self, event: HttpEvent, request_id: str, deadline: Deadline) -> dict[str, Any]:
        if self._web is None:
            if self._make_web is None:
                raise UnknownEvent("the event is an HTTP request")
            self._web = self._make_web()
        return self._web.answer(event, request_id, deadline)

    def _answer_invoke(self, job: Job, deadline: Deadline) -> Result:
        if job.idempotency_key is None:
            return _small(self._run(job, deadline))
        results = _required(self._results, "invokes with an idempotency_key")
        known = results.read(job.idempotency_key)
        if known is not None:
            self._telemetry.repeated(job)
            return _small(known)
        result = self._run(job, deadline)
        # More time would have given more text, so it isn't the one that stands for ever.
        if cut_off(result) or results.keep(job.idempotency_key, result):
            return _small(result)
        return _small(results.read(job.idempotency_key) or result)

    def _run(self, job: Job, deadline: Deadline) -> Result:
        generation = prepare(self._model, job.request, job.id, time.perf_counter(), deadline)
        at_once = choices_at_once(self._model, generation)
        result = finish(answered(self._model, job, generation, self._telemetry, at_once), self._model.step)
        if len(generation.tasks) == 1:
            self._pace.observe(result["timings"])
        return result


def choices_at_once(model: Model, generation: Generation) -> int:
    """How many choices of an answer that is alone there are slots and memory for."""
    room, most = model.room, min(model.slots, generation.side_by_side)
    if room is None:
        return most
    return next((count for count in range(most, 1, -1) if room.fits([generation.longest] * count)), 1)


def _required(results: Results | None, what: str) -> Results:
    if results is None:
        raise ResultsBucketMissing(what)
    return results


def _small(result: Result) -> Result:
    if len(json.dumps(result)) > LARGEST_ANSWER:
        raise ResponseTooLarge(LARGEST_ANSWER)
    return result
