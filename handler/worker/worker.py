"""Event → jobs → results, one job after the other, within the time that the invocation has."""

import json
import time
from typing import TYPE_CHECKING, Any, Protocol

from handler.deadline import Deadline
from handler.errors import (
    ApiError,
    DeadlineExceeded,
    GenerationFailed,
    NotEnoughTime,
    ResponseTooLarge,
    ResultsBucketMissing,
)
from handler.generation import Generation, generate, prepare
from handler.model import Model
from handler.text.deltas import joined
from handler.turns import stepped
from handler.worker.batch import answer_batch
from handler.worker.events import Invoke, read_event
from handler.worker.jobs import Job, invoke_job, message_job
from handler.worker.pace import Pace
from handler.worker.results import Result, Results, cut_off, result_of
from handler.worker.telemetry import Telemetry

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

LARGEST_ANSWER = 6 * 2**20  # bytes that Lambda takes as the answer of an invocation


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
    """

    def __init__(
        self, model: Model, results: Results | None, telemetry: Telemetry, margin_s: float, pace: Pace | None = None
    ) -> None:
        self._model = model
        self._results = results
        self._telemetry = telemetry
        self._margin_s = margin_s
        self._pace = pace or Pace()

    def handle(self, event: object, context: Context) -> Any:
        """Answer an event.

        Returns:
            The result of a plain invoke; the partial batch response of a batch.

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
        answers = _BatchAnswers(
            self._model, _required(self._results, "SQS messages"), self._telemetry, self._pace, deadline
        )
        return answer_batch(read, answers.answer)

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
        return run(self._model, job, generation, self._telemetry, self._pace)


class _BatchAnswers:
    """One batch: its messages, and the time that they share."""

    def __init__(self, model: Model, results: Results, telemetry: Telemetry, pace: Pace, deadline: Deadline) -> None:
        self._model = model
        self._results = results
        self._telemetry = telemetry
        self._pace = pace
        self._deadline = deadline
        self._begun = False

    def answer(self, record: "SQSRecord") -> None:
        """Answer a message and keep the result.

        Raises:
            Exception: There is none; the message goes back to its queue.
        """
        try:
            self._answer(message_job(record, self._model.served))
        except Exception as error:
            self._telemetry.failed("sqs", record.message_id, error)
            raise

    def _answer(self, job: Job) -> None:
        assert job.idempotency_key is not None
        if self._results.has(job.idempotency_key):
            self._telemetry.repeated(job)
            return
        generation = prepare(self._model, job.request, job.id, time.perf_counter(), self._deadline)
        self._check_time(generation)
        try:
            result = run(self._model, job, generation, self._telemetry, self._pace)
        except DeadlineExceeded:
            raise NotEnoughTime(self._deadline.left_s()) from None
        if cut_off(result):
            raise NotEnoughTime(self._deadline.left_s())
        self._results.keep(job.idempotency_key, result)

    def _check_time(self, generation: Generation) -> None:
        """Let a message begin only if it fits; the first begins in any case, since it will never have more time."""
        task = generation.task
        needed = self._pace.expected_s(len(task.prompt_ids), task.max_tokens) if self._begun else 0.0
        if self._deadline.passed or needed > self._deadline.left_s():
            raise NotEnoughTime(self._deadline.left_s(), needed)
        self._begun = True


def run(model: Model, job: Job, generation: Generation, telemetry: Telemetry, pace: Pace) -> Result:
    """Generate an answer.

    Raises:
        DeadlineExceeded: There was no token before the deadline.
    """
    waited_ms = job.waited_ms(time.time())
    with telemetry.segment("answer"):
        delta = joined(stepped(generate(model, generation, model.new_cancellation()), model.step))
    result = result_of(generation, delta)
    pace.observe(result["timings"])
    telemetry.answered(job, result, waited_ms)
    return result


def _required(results: Results | None, what: str) -> Results:
    if results is None:
        raise ResultsBucketMissing(what)
    return results


def _small(result: Result) -> Result:
    if len(json.dumps(result)) > LARGEST_ANSWER:
        raise ResponseTooLarge(LARGEST_ANSWER)
    return result
