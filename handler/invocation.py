"""What the Web Adapter says of the Lambda invocation that a request belongs to.

The adapter replaces these headers if a client sends them, so they are true where it is in front, and only there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from handler.deadline import Deadline
from handler.errors import InvocationMalformed

LAMBDA_CONTEXT = b"x-amzn-lambda-context"
REQUEST_CONTEXT = b"x-amzn-request-context"
LATEST_MS = 4_102_444_800_000  # the year 2100: a larger number isn't in milliseconds
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


@dataclass(frozen=True)
class Invocation:
    """One invocation of the function.

    Attributes:
        request_id: Lambda's; None outside of an invocation, as in the adapter's own health checks.
        deadline: When the answer must be at its end.
        trace_id: X-Ray's.
        caller: ARN of the IAM user or role that signed the request.
        event: Whether it isn't an HTTP request at all, but an event that the adapter posts as one.
    """

    request_id: str | None = None
    deadline: Deadline | None = None
    trace_id: str | None = None
    caller: str | None = None
    event: bool = False


def read_invocation(headers: Iterable[tuple[bytes, bytes]], margin_s: float) -> Invocation:
    """Read the adapter's headers.

    Args:
        headers: ASGI's.
        margin_s: By how much the deadline is earlier than Lambda's.

    Raises:
        InvocationMalformed: One of them isn't what the adapter writes.
    """
    given = dict(headers)
    if LAMBDA_CONTEXT not in given:
        return Invocation()
    context = _parse(given, LAMBDA_CONTEXT)
    request = _parse(given, REQUEST_CONTEXT) if REQUEST_CONTEXT in given else {}
    if not isinstance(context, dict):
        raise InvocationMalformed(LAMBDA_CONTEXT.decode(), "an object", context)
    return Invocation(
        request_id=_request_id(context),
        deadline=_deadline(context, margin_s),
        trace_id=_text(context.get("xray_trace_id")),
        caller=_text(_member(_member(_member(request, "authorizer"), "iam"), "userArn")),
        event=request is None,
    )


def _parse(headers: Mapping[bytes, bytes], name: bytes) -> Any:
    try:
        return json.loads(headers[name])
    except (ValueError, RecursionError):
        raise InvocationMalformed(name.decode(), "JSON", headers[name].decode("latin-1")) from None


def _request_id(context: Mapping[str, Any]) -> str:
    value = context.get("request_id")
    # It goes into a header of the answer.
    if not isinstance(value, str) or not _REQUEST_ID.fullmatch(value):
        raise InvocationMalformed("request_id", "letters, digits and hyphens", value)
    return value


def _deadline(context: Mapping[str, Any], margin_s: float) -> Deadline:
    value = context.get("deadline")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= LATEST_MS:
        raise InvocationMalformed("deadline", "milliseconds since 1970", value)
    return Deadline(value / 1e3 - margin_s)


def _member(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
