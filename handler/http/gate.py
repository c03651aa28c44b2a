"""What every request passes: a request id, the API key, errors in the endpoint's form, one line in the log."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handler.access.keys import Keys
from handler.api.endpoint import openai_refusal
from handler.api.events import json_bytes
from handler.errors import (
    ApiError,
    EventsNotTaken,
    GenerationFailed,
    HeadTooLarge,
    HttpVersionUnsupported,
    InvocationMalformed,
    MethodNotAllowed,
    NotFound,
    Unauthorized,
)
from handler.http.limits import LARGEST_HEAD
from handler.http.paths import Paths
from handler.invocation import Invocation, read_invocation
from handler.logs import Log, Record
from handler.metrics import Metrics

if TYPE_CHECKING:
    from handler.http.hooks import Hooks  # Most servers have none.

RECORD = "firebrick.record"  # where a request's scope holds its Record
HEALTH = "/health"  # open to all: load balancers have no key
PAGE = "/"  # open too, and holds no secret: what it asks for needs the key


class Gate:
    """An ASGI middleware around the routes.

    Args:
        app: The routes.
        log: Where each request's line goes.
        keys: Which key is wanted, as `Authorization: Bearer` or `x-api-key`.
        margin_s: By how much deadlines are earlier than Lambda's; None where no Web Adapter is in front, so that its
            headers are a stranger's.
        metrics: Told of each request; None where nobody would read them.
        paths: Finds the route that a path means.
        refusals: What gives an error's body, by path; OpenAI's form elsewhere.
        page: Whether there is one.
        hooks: SnapStart's; None without.
    """

    def __init__(
        self,
        app: ASGIApp,
        log: Log,
        keys: Keys,
        paths: Paths,
        margin_s: float | None = None,
        metrics: Metrics | None = None,
        refusals: Mapping[str, Callable[[ApiError], dict[str, Any]]] | None = None,
        page: bool = False,
        hooks: Hooks | None = None,
    ) -> None:
        self._app = app
        self._log = log
        self._keys = keys
        self._paths = paths
        self._margin_s = margin_s
        self._metrics = metrics
        self._refusals = refusals or {}
        self._page = page
        self._hooks = hooks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        written = scope["path"]
        scope["path"] = self._paths.meant(written)
        record = Record(id=os.urandom(12).hex(), method=scope["method"], path=scope["path"])
        record.invocation = self._invocation(scope, record)
        record.id = record.invocation.request_id or record.id
        scope[RECORD] = record

        async def tagged_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                # Anthropic's clients look for the second.
                ids = [(name, record.id.encode()) for name in (b"x-request-id", b"request-id")]
                message["headers"] = [*message.get("headers", ()), *ids]
            await send(message)

        try:
            if scope["http_version"] not in ("1.0", "1.1"):
                raise HttpVersionUnsupported(scope["http_version"])
            if _head_size(scope) > LARGEST_HEAD:  # h11 only measures heads that come in pieces.
                raise HeadTooLarge(LARGEST_HEAD)
            if self._hooks is not None and await self._hooks.take(scope, written, receive, tagged_send):
                return
            if record.invocation.event:
                raise EventsNotTaken()
            await self._authorize(scope)
            await self._app(scope, receive, tagged_send)
        except ApiError as error:
            await self._refuse(error, scope, receive, tagged_send)
        except Exception as error:
            self._log.failure(error, request_id=record.id)
            await self._refuse(GenerationFailed(), scope, receive, tagged_send)
        finally:
            self._report(record)

    def _report(self, record: Record) -> None:
        if (record.path, record.status) != (HEALTH, 200):  # Probes come by the hundred.
            self._log.request(record)
        if self._metrics is not None and record.path != HEALTH:
            self._metrics.request(record)

    def _invocation(self, scope: Scope, record: Record) -> Invocation:
        if self._margin_s is None:
            return Invocation()
        try:
            return read_invocation(scope["headers"], self._margin_s)
        except InvocationMalformed as error:
            self._log.event("invocation_ignored", request_id=record.id, message=str(error))
            return Invocation()

    async def _authorize(self, scope: Scope) -> None:
        if not self._is_open(scope) and not await self._keys.accepts(_key(scope)):
            raise Unauthorized()

    def _is_open(self, scope: Scope) -> bool:
        asks_for_page = self._page and scope["path"] == PAGE and scope["method"] in ("GET", "HEAD")
        return asks_for_page or scope["path"] == HEALTH

    async def _refuse(self, error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
        record: Record = scope[RECORD]
        record.error, record.param = error.code, error.param
        if record.status is None:
            body = self._refusals.get(scope["path"], openai_refusal)(error)
            if "request_id" in body:
                body["request_id"] = record.id
            response = Response(json_bytes(body), error.status, dict(error.headers), "application/json")
            await response(scope, receive, send)


def _head_size(scope: Scope) -> int:
    """How many bytes the request's line and headers have at least."""
    line = len(scope["method"]) + len(scope.get("raw_path") or b"") + len(scope["query_string"])
    return line + sum(len(name) + len(value) + len(b": \r\n") for name, value in scope["headers"])


def _key(scope: Scope) -> bytes:
    given: dict[bytes, bytes] = dict(reversed(scope["headers"]))  # Of several, the first counts.
    scheme, _, key = given.get(b"authorization", b"").partition(b" ")
    # Anthropic's clients send a key as x-api-key.
    return key.strip() if scheme.lower() == b"bearer" else given.get(b"x-api-key", b"")


async def raise_api_error(request: Request, error: Exception) -> NoReturn:
    """Turn the router's own errors into ours."""
    path = request.scope["path"]
    if isinstance(error, HTTPException) and error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "")
        raise MethodNotAllowed(request.method, path, ", ".join(sorted(allow.split(", ")))) from error
    raise NotFound(path) from error
