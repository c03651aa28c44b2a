"""What is refused of HTTP, before anybody looks at a request's body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from handler.errors.base import ApiError, shown


class Unauthorized(ApiError):
    """The API key is missing or wrong."""

    status = 401
    code = "invalid_api_key"

    def __init__(self) -> None:
        super().__init__("incorrect or missing API key; send it as 'Authorization: Bearer KEY' or as 'x-api-key: KEY'")

    @property
    def headers(self) -> Mapping[str, str]:
        return {"www-authenticate": "Bearer"}


class OriginRefused(ApiError):
    """A page of an origin that isn't listed wants to call."""

    status = 403
    code = "origin_refused"

    def __init__(self, origin: str) -> None:
        super().__init__(
            f"pages of {shown(origin)} may not call this server; FIREBRICK_CORS_ORIGINS lists those that may"
        )


class MethodNotShared(ApiError):
    """A page wants to call by a method that isn't for other origins."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, method: str, shared: Sequence[str]) -> None:
        super().__init__(f"pages of other origins may not send {shown(method)}; use {', '.join(shared)}")
        self.shared = shared

    @property
    def headers(self) -> Mapping[str, str]:
        return {"allow": ", ".join(self.shared)}


class MalformedHttp(ApiError):
    """What came isn't HTTP/1.1."""

    code = "malformed_http"

    def __init__(self, reason: str) -> None:
        super().__init__(f"this is no HTTP/1.1 request: {reason}")


class HeadTooLarge(ApiError):
    """The request's line and headers have more bytes than are read."""

    status = 431
    code = "headers_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request's line and headers are larger than {limit} bytes; send fewer or shorter headers")


class HeadLate(ApiError):
    """The request's line and headers didn't come to their end."""

    status = 408
    code = "request_timeout"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the request's line and headers were not complete after {seconds:g} s")


class HttpVersionUnsupported(ApiError):
    """The request is of another version of HTTP."""

    status = 505
    code = "http_version_unsupported"

    def __init__(self, version: str) -> None:
        super().__init__(f"HTTP/{version} is not spoken here; use HTTP/1.1")

    @property
    def headers(self) -> Mapping[str, str]:
        return {"connection": "close"}


class TooManyConnections(ApiError):
    """As many clients are being answered as there may be connections."""

    status = 503
    type = "server_error"
    code = "too_many_connections"

    def __init__(self) -> None:
        super().__init__("too many connections are open; try again in 1 s")

    @property
    def headers(self) -> Mapping[str, str]:
        return {"retry-after": "1"}


class EncodingUnsupported(ApiError):
    """The body is compressed in a way that isn't undone here."""

    status = 415
    code = "unsupported_encoding"

    def __init__(self, encoding: str) -> None:
        super().__init__(f"a body with content-encoding {shown(encoding)} can't be read; send gzip, deflate or none")

    @property
    def headers(self) -> Mapping[str, str]:
        return {"accept-encoding": "gzip, deflate"}


class EncodingBroken(ApiError):
    """The body isn't compressed as its header says."""

    code = "malformed_encoding"

    def __init__(self, encoding: str) -> None:
        super().__init__(f"the body is not one whole {encoding} stream, as its content-encoding says")


class NotFound(ApiError):
    """No such path."""

    status = 404
    code = "not_found"

    def __init__(self, path: str) -> None:
        super().__init__(f"no such path: {shown(path)}; GET /openapi.json lists all")


class EventsNotTaken(ApiError):
    """An event that is no HTTP request came through the Web Adapter.

    No other error has this status, so that the adapter can be told to fail the invocation: a queue then keeps its
    messages.
    """

    status = 501
    code = "events_not_taken"

    def __init__(self) -> None:
        super().__init__("this function answers HTTP requests only; send events to the worker function")


class MethodNotAllowed(ApiError):
    """The path exists, the method doesn't."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, method: str, path: str, allow: str) -> None:
        super().__init__(f"{shown(path)} does not take {shown(method)}; use {allow}")
        self.allow = allow

    @property
    def headers(self) -> Mapping[str, str]:
        return {"allow": self.allow}


class ClientIdle(ApiError):
    """The client sends no more of its body, or takes no more of its answer."""

    status = 408
    code = "client_idle"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the connection stood still, or nearly so, for {seconds:g} s")


class BodyTooLarge(ApiError):
    """The body has more bytes than FIREBRICK_MAX_BODY."""

    status = 413
    code = "request_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request's body is larger than {limit} bytes; send less")
