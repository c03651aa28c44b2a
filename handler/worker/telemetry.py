"""What the worker tells of itself, by Powertools: JSON log lines, metrics as EMF, X-Ray segments."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import Metrics

from handler.billing import Bill
from handler.errors import ApiError, NotEnoughTime
from handler.metrics import UNITS, answer_values
from handler.worker.jobs import Job
from handler.worker.results import Result, said

SERVICE = "firebrick-worker"
NAMESPACE = "Firebrick"


class Named(Protocol):
    """What a line in the log calls a job."""

    @property
    def source(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def idempotency_key(self) -> str | None: ...


class Telemetry:
    """Log, metrics and traces.

    Args:
        environ: POWERTOOLS_SERVICE_NAME and POWERTOOLS_METRICS_NAMESPACE are looked up here; the tracer's are looked up
            in the process's own, into which Lambda's runtime client writes each invocation's trace.
        texts: Whether prompts and answers are logged.
        bill: What counts the invocations' time; None where nothing is billed.
    """

    def __init__(self, environ: Mapping[str, str], texts: bool, bill: Bill | None = None) -> None:
        self._service = environ.get("POWERTOOLS_SERVICE_NAME") or SERVICE
        self._log = Logger(service=self._service, location=None)
        self._metrics = Metrics(
            service=self._service, namespace=environ.get("POWERTOOLS_METRICS_NAMESPACE") or NAMESPACE
        )
        self._texts = texts
        self._bill = bill or Bill()
        self._first: dict[str, float] = {"ColdStart": 1}

    def ready(self, ready_ms: float, **members: Any) -> None:
        """The function can answer; the first event's metrics will tell how long that took."""
        self._first["ReadyTime"] = ready_ms
        members["ready_ms"] = ready_ms
        self._log.info("ready", extra=members)

    def restored(self, took_ms: float) -> None:
        """The process was restored from a snapshot: that is its cold start, not the one before the snapshot."""
        self._first = {"ColdStart": 1, "RestoreTime": took_ms}

    def event(self, name: str, took_ms: float) -> None:
        """Something outside of any invocation was done."""
        self._log.info(name, extra={"took_ms": took_ms})

    @contextmanager
    def invocation(self, request_id: str) -> Iterator[None]:
        """Put the invocation's id into all its lines, and write its metrics at its end."""
        self._log.append_keys(request_id=request_id)
        self._count(self._first)
        self._first = {}
        try:
            with self._bill.invocation():
                yield
        finally:
            if self._metrics.provider.metric_set:
                self._metrics.flush_metrics()
            self._log.remove_keys(["request_id"])

    def answered(self, job: Job, result: Result, waited_ms: float | None) -> None:
        """A job has a result.

        Args:
            job: Which.
            result: Its result.
            waited_ms: How long it was in its queue; None if that isn't known.
        """
        timings = result["timings"]
        # The engine's own queue is empty here: what a job waits in is SQS.
        self._count(answer_values({**timings, "queue_ms": waited_ms}))
        choices = said(result)
        spoken = [choice.get("text") for choice in choices]  # vectors have none
        answers = {"answer": spoken[0]} if len(spoken) == 1 else {"answers": spoken}
        texts = {"prompt": job.request.logged, **answers} if self._texts else {}
        members = {"finish_reason": choices[-1].get("finish_reason"), **timings, **texts}
        self._log.info("answered", extra=_named(job.source, job.id, job.idempotency_key) | members)

    def told(self, event: str, job: Named, **members: Any) -> None:
        """What else there is to say of a job."""
        self._log.info(event, extra=_named(job.source, job.id, job.idempotency_key) | members)

    def repeated(self, job: Named) -> None:
        """A job's result was there already."""
        self._count({"Repeats": 1})
        self._log.info("repeated", extra=_named(job.source, job.id, job.idempotency_key))

    def failed(self, source: str, id: str, error: Exception) -> None:
        """A job, or a whole event, has no result."""
        self._count({_outcome(error): 1})
        if isinstance(error, ApiError):
            # What a client did wrong is told with the bad value, which is text of the client's.
            told = {"reason": error.message} if error.status >= 500 or self._texts else {}
            known = {"error": error.code, "param": error.param, **told}
            self._log.warning("failed", extra=_named(source, id) | known)
        else:  # Ours: the place, but not the values at hand.
            frames = traceback.extract_tb(error.__traceback__)
            places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
            members = {"error": type(error).__name__, "reason": str(error)[:500], "places": places}
            self._log.error("failed", extra=_named(source, id) | members)

    def _count(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._metrics.add_metric(name, UNITS[name], value)

    @contextmanager
    def segment(self, name: str) -> Iterator[None]:
        """A subsegment of the invocation's trace, if it is traced."""
        began_at = time.time()
        try:
            yield
        except Exception as error:
            self._trace(name, began_at, error)
            raise
        self._trace(name, began_at, None)

    def _trace(self, name: str, began_at: float, error: Exception | None) -> None:
        """Write a subsegment that has come to its end: of several that are open, the SDK would end the latest."""
        if "Sampled=1" not in os.environ.get("_X_AMZN_TRACE_ID", "") or "AWS_XRAY_DAEMON_ADDRESS" not in os.environ:
            return
        # The SDK takes 45 ms to import, and most functions are never traced.
        from aws_lambda_powertools.tracing import Tracer

        provider: Any = Tracer(service=self._service, auto_patch=False).provider
        with provider.in_subsegment(name) as subsegment:
            if subsegment is not None:
                subsegment.start_time = began_at
            if subsegment is not None and error is not None:
                subsegment.add_exception(error, traceback.extract_tb(error.__traceback__))


def _outcome(error: Exception) -> str:
    if isinstance(error, NotEnoughTime):
        return "Returns"
    return "Refusals" if isinstance(error, ApiError) and error.status < 500 else "Failures"


def _named(source: str, id: str, key: str | None = None) -> dict[str, Any]:
    return {"source": source, "job": id, **({"key": key} if key else {})}
