"""Requests that Lambda itself refuses: one cause per class, with its HTTP status and Lambda's error type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar

from image.local.errors import LocalError
from image.local.limits import REQUEST_BYTES


class ServiceError(LocalError):
    """A refusal.

    Attributes:
        status: Of the HTTP answer.
        type: For the header `x-amzn-ErrorType`.
        key: Under which the body has the text; Lambda writes it small or capital.
    """

    status: ClassVar[int] = 400
    type: ClassVar[str] = "InvalidParameterValueException"
    key: ClassVar[str] = "message"
    more: ClassVar[Mapping[str, str]] = {"Type": "User"}

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def body(self) -> bytes:
        """Return Lambda's error body."""
        return json.dumps({**self.more, self.key: self.message}).encode()


class InvalidParameter(ServiceError):
    """A header or a path has a value that it can't have."""


class InvalidContent(ServiceError):
    """The payload isn't JSON."""

    type = "InvalidRequestContentException"

    def __init__(self, reason: str) -> None:
        super().__init__(f"Could not parse request body into json: {reason}")


class Forbidden(ServiceError):
    """The signature of a request for a URL with AWS_IAM is missing or wrong."""

    status = 403
    type = "AccessDeniedException"
    key = "Message"
    more: ClassVar[Mapping[str, str]] = {}

    def __init__(self, reason: str) -> None:
        super().__init__("Forbidden")
        self.reason = reason  # for the log: Lambda doesn't tell the client


class FunctionNotFound(ServiceError):
    """Another function than the one that runs here."""

    status = 404
    type = "ResourceNotFoundException"
    key = "Message"

    def __init__(self, arn: str) -> None:
        super().__init__(f"Function not found: {arn}")


class PathNotFound(ServiceError):
    """No operation of the Invoke API."""

    status = 404
    type = "UnknownOperationException"
    more: ClassVar[Mapping[str, str]] = {}

    def __init__(self, path: str) -> None:
        super().__init__(f"no operation of the Invoke API has the path {path}")


class RequestTooLarge(ServiceError):
    """The payload has more bytes than an invoke may have."""

    status = 413
    type = "RequestTooLargeException"

    def __init__(self, limit: int = REQUEST_BYTES) -> None:
        super().__init__(f"Request must be smaller than {limit} bytes for the InvokeFunction operation")


class Throttled(ServiceError):
    """All environments are busy."""

    status = 429
    type = "TooManyRequestsException"
    more: ClassVar[Mapping[str, str]] = {
        "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
        "Type": "User",
    }

    def __init__(self) -> None:
        super().__init__("Rate Exceeded.")


class Unavailable(ServiceError):
    """The local Lambda is ending."""

    status = 503
    type = "ServiceException"

    def __init__(self) -> None:
        super().__init__("the local Lambda is shutting down")
