"""Metrics of both functions: their names and units, what of an answer they count, and the server's own lines.

CloudWatch finds them in the log, in its Embedded Metric Format:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from handler.errors import ClientGone

if TYPE_CHECKING:
    from handler.logs import Log, Record

SERVICE = "firebrick-stream"
UNITS = {
    "Answers": "Count",
    "Refusals": "Count",
    "Failures": "Count",
    "Repeats": "Count",
    "Returns": "Count",
    "PromptTokens": "Count",
    "CompletionTokens": "Count",
    "FirstTokenTime": "Milliseconds",
    "PrefillTime": "Milliseconds",
    "QueueWait": "Milliseconds",
    "DecodeTokensPerSecond": "Count/Second",
    "BilledTime": "Milliseconds",
    "EstimatedCost": "None",
    "ColdStart": "Count",
    "ReadyTime": "Milliseconds",
    "RestoreTime": "Milliseconds",
}
TIMINGS = {
    "PromptTokens": "prompt_tokens",
    "CompletionTokens": "completion_tokens",
    "FirstTokenTime": "first_token_ms",
    "PrefillTime": "prefill_ms",
    "QueueWait": "queue_ms",
    "DecodeTokensPerSecond": "decode_tokens_per_second",
    "BilledTime": "billed_ms",
    "EstimatedCost": "estimated_cost_usd",
}


def answer_values(timings: Mapping[str, Any]) -> dict[str, float]:
    """Values by metric of one answer; what its timings don't know is left out."""
    values = {metric: timings.get(name) for metric, name in TIMINGS.items()}
    return {"Answers": 1, **{metric: value for metric, value in values.items() if value is not None}}


def embedded(namespace: str, service: str, values: Mapping[str, float], at: float) -> dict[str, Any]:
    """The members that make a log line one that CloudWatch takes metrics from.

    Args:
        namespace: Of the metrics.
        service: The value of their one dimension.
        values: By the names of `UNITS`.
        at: Unix seconds.
    """
    metrics = [{"Name": name, "Unit": UNITS[name]} for name in values]
    directive = {"Namespace": namespace, "Dimensions": [["service"]], "Metrics": metrics}
    return {"_aws": {"Timestamp": int(at * 1e3), "CloudWatchMetrics": [directive]}, "service": service, **values}


class Metrics:
    """Writes the metrics of each request.

    They have a line of their own: the request's is the same everywhere, and with texts in it, it may grow beyond what
    Lambda logs in one piece, from which CloudWatch would take nothing.

    Args:
        log: Where to.
        namespace: CloudWatch's.
        service: The dimension's value.
    """

    def __init__(self, log: Log, namespace: str, service: str) -> None:
        self._log = log
        self._namespace = namespace
        self._service = service
        self._first: dict[str, float] = {}

    def ready(self, ready_ms: float) -> None:
        """The server can answer; the first request will tell, because a start alone may serve nobody."""
        self._first = {"ColdStart": 1, "ReadyTime": ready_ms}

    def restored(self, took_ms: float) -> None:
        """The process was restored from a snapshot: that is its cold start, not the one before the snapshot."""
        self._first = {"ColdStart": 1, "RestoreTime": took_ms}

    def request(self, record: Record) -> None:
        """Write the metrics of a request that has ended, if it makes any."""
        values = request_values(record)
        if values:
            values, self._first = values | self._first, {}
            members = embedded(self._namespace, self._service, values, time.time())
            self._log.event("metrics", request_id=record.id, **members)


def request_values(record: Record) -> dict[str, float]:
    """Values by metric of one request; none if it asked for no answer, or its client left before the end."""
    if record.error == ClientGone.code:
        return {}
    if record.status is None or record.status >= 500:
        return {"Failures": 1}
    if record.status >= 400:
        return {"Refusals": 1}
    if record.error is not None:  # in mid-stream, behind a status of 200
        return {"Failures": 1}
    return answer_values(record.timings) if record.timings else {}
