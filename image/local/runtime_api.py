"""The Runtime API, 2018-06-01: next, response, error, init/error, restore/next, restore/error.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-custom.html
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re

from image.local.errors import (
    ClientGone,
    FunctionError,
    InitReported,
    Reported,
    ResponseTooLarge,
    RestoreReported,
    StreamReported,
    TruncatedResponse,
)
from image.local.exchange import DEATH_S, Exchange
from image.local.invocation import OCTET_STREAM, Invocation
from image.local.limits import REQUEST_BYTES, RESPONSE_BYTES
from image.local.wire import Answer, Request

PREFIX = "/2018-06-01/runtime/"
INVOCATION = re.compile(r"/2018-06-01/runtime/invocation/([^/]+)/(response|error)")
ERROR_TYPE = "lambda-runtime-function-error-type"
ERROR_BODY = "lambda-runtime-function-error-body"
MODE = "lambda-runtime-function-response-mode"


def refusal(status: int, type: str, message: str) -> Answer:
    """Return an error of the Runtime or Extensions API."""
    return Answer.json(status, {"errorType": type, "errorMessage": message})


ACCEPTED = Answer.json(202, {"status": "OK"})
NO_SUCH_PATH = refusal(404, "NotFound", "no such path in the Runtime or Extensions API")


class RuntimeApi:
    """Answers one environment's runtime.

    Args:
        exchange: The environment's side.
        arn: The function's, without a qualifier.
    """

    def __init__(self, exchange: Exchange, arn: str) -> None:
        self._exchange = exchange
        self._arn = arn

    async def answer(self, request: Request) -> Answer:
        """Answer a request below `PREFIX`."""
        if (request.method, request.path) == ("GET", PREFIX + "invocation/next"):
            return await self._next()
        if (request.method, request.path) == ("POST", PREFIX + "init/error"):
            return await self._init_error(request)
        if (request.method, request.path) == ("GET", PREFIX + "restore/next"):
            return await self._restore_next()
        if (request.method, request.path) == ("POST", PREFIX + "restore/error"):
            return await self._restore_error(request)
        if request.method != "POST" or not (found := INVOCATION.fullmatch(request.path)):
            return NO_SUCH_PATH
        invocation = self._exchange.invocation
        if invocation is None or invocation.call.request_id != found[1]:
            return refusal(400, "InvalidRequestID", "Invalid request ID")
        if invocation.begun:
            return refusal(403, "InvalidStateTransition", "the invocation already has its response")
        try:
            return await (self._response if found[2] == "response" else self._error)(request, invocation)
        except ClientGone:
            await self._report_truncation()
            raise

    async def _next(self) -> Answer:
        current = self._exchange.invocation
        if current is not None and not current.ended:
            return refusal(403, "InvalidStateTransition", "the invocation in flight has no response yet")
        invocation = await self._exchange.next_invocation()
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": invocation.call.request_id,
            "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.call.target.arn(self._arn),
            "Lambda-Runtime-Trace-Id": invocation.call.trace_id,
        }
        if invocation.call.client_context is not None:
            headers["Lambda-Runtime-Client-Context"] = invocation.call.client_context
        return Answer(200, invocation.call.payload, headers)

    async def _response(self, request: Request, invocation: Invocation) -> Answer:
        mode = request.headers.get(MODE)
        if mode not in (None, "streaming"):
            invocation.fail(Reported("Runtime.InvalidResponseModeHeader", f"no such response mode: {mode!r}"))
            return refusal(400, "InvalidFunctionResponseMode", "Invalid function response mode")
        try:
            if mode == "streaming":
                await self._stream(request, invocation)
            else:
                await self._buffer(request, invocation)
        except FunctionError:
            return refusal(
                413, "RequestEntityTooLarge", f"Exceeded maximum allowed payload size ({RESPONSE_BYTES} bytes)."
            )
        return ACCEPTED

    async def _stream(self, request: Request, invocation: Invocation) -> None:
        invocation.begin(request.headers.get("content-type", OCTET_STREAM), streamed=True)
        async for chunk in request.chunks():
            await invocation.feed(chunk)
        if error_type := request.trailers.get(ERROR_TYPE):
            message, payload = _trailed(request.trailers.get(ERROR_BODY, ""))
            invocation.fail(StreamReported(error_type, message, payload))
        elif await self._exchange.settle():
            invocation.end()

    async def _buffer(self, request: Request, invocation: Invocation) -> None:
        size, kept = 0, []
        async for chunk in request.chunks():
            size += len(chunk)
            if size <= RESPONSE_BYTES:
                kept.append(chunk)
        if size > RESPONSE_BYTES:
            invocation.fail(ResponseTooLarge(size))
            raise ResponseTooLarge(size)
        invocation.begin(request.headers.get("content-type", "application/json"), streamed=False)
        await invocation.feed(b"".join(kept))
        invocation.end()

    async def _error(self, request: Request, invocation: Invocation) -> Answer:
        payload = await request.body(REQUEST_BYTES)
        invocation.fail(Reported(*_described(request, payload)))
        return ACCEPTED

    async def _init_error(self, request: Request) -> Answer:
        payload = await request.body(REQUEST_BYTES)
        self._exchange.fail(InitReported(*_described(request, payload)))
        return ACCEPTED

    async def _restore_next(self) -> Answer:
        if not await self._exchange.next_restore():
            return refusal(403, "InvalidStateTransition", "there is no snapshot to be restored from")
        return Answer(200, b"", {})

    async def _restore_error(self, request: Request) -> Answer:
        payload = await request.body(REQUEST_BYTES)
        self._exchange.fail(RestoreReported(*_described(request, payload)))
        return ACCEPTED

    async def _report_truncation(self) -> None:
        """A broken connection mostly means a dead process, and that is then the better reason."""
        await asyncio.wait([self._exchange.failed], timeout=DEATH_S)
        self._exchange.fail(TruncatedResponse())


def _described(request: Request, payload: bytes) -> tuple[str, str, bytes | None]:
    type, message = request.headers.get(ERROR_TYPE, "Runtime.Unknown"), ""
    try:
        error = json.loads(payload)
        type, message = str(error.get("errorType") or type), str(error.get("errorMessage") or "")
    except (ValueError, AttributeError):
        return type, message, None  # Some runtimes send no body.
    return type, message, payload


def _trailed(body: str) -> tuple[str, bytes | None]:
    """Return message and JSON of a stream's error, which comes in base64."""
    try:
        payload = base64.b64decode(body, validate=True)
    except binascii.Error:
        return body, None
    try:
        return str(json.loads(payload).get("errorMessage", "")), payload
    except (ValueError, AttributeError):
        return payload.decode(errors="replace"), None
