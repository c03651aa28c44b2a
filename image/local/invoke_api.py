"""The Invoke API, so that boto3 works with `endpoint_url`.

https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html and API_InvokeWithResponseStream.html
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from urllib.parse import parse_qs, unquote

from starlette.types import Receive, Scope, Send

from image.local.asynchronous import EventQueue
from image.local.errors import ClientGone
from image.local.event_stream import CONTENT_TYPE, invoke_complete, payload_chunk
from image.local.invocation import Call, Invocation, new_trace_id
from image.local.limits import ACCOUNT, EVENT_BYTES
from image.local.pool import Pool
from image.local.qualifiers import Target
from image.local.refusals import (
    FunctionNotFound,
    InvalidContent,
    InvalidParameter,
    PathNotFound,
    RequestTooLarge,
    ServiceError,
)
from image.local.settings import Settings
from image.local.url_event import HttpRequest
from image.local.web import Pairs, identifying, read_request, send_head, send_part, send_refusal, send_whole

INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations/?")
INVOKE_STREAM = re.compile(r"/2021-11-15/functions/([^/]+)/response-streaming-invocations/?")
ARN = re.compile(r"(?:arn:[^:]+:lambda:[^:]+:)?(?:\d{12}:)?(?:function:)?([A-Za-z0-9_-]+)(?::([^:]+))?")
TYPES = ("RequestResponse", "Event", "DryRun")


class InvokeApi:
    """An ASGI application with the two operations that invoke. Any signature passes, and none.

    Args:
        settings: The one function that is here.
        pool: What invokes.
        events: What invokes later.
    """

    def __init__(self, settings: Settings, pool: Pool, events: EventQueue) -> None:
        self._settings = settings
        self._pool = pool
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = str(uuid.uuid4())
        try:
            request = await read_request(scope, receive)
            kind, target = self._check(request)
            await self._invoke(request, kind, target, request_id, send)
        except ServiceError as error:
            await send_refusal(send, error, request_id)
        except ClientGone:
            pass

    def _check(self, request: HttpRequest) -> tuple[str, Target]:
        """Return the invocation type, where `stream` stands for a response stream, and what is invoked.

        Raises:
            ServiceError: Lambda would refuse the request.
        """
        streaming = INVOKE_STREAM.fullmatch(request.path)
        found = streaming or INVOKE.fullmatch(request.path)
        if request.method != "POST" or found is None:
            raise PathNotFound(request.path)
        target = self._find(unquote(found[1]), parse_qs(request.query).get("Qualifier", [None])[0])
        kind = request.header("x-amz-invocation-type") or "RequestResponse"
        if kind not in TYPES or (streaming and kind == "Event"):
            raise InvalidParameter(f"X-Amz-Invocation-Type {kind!r} is not valid: use one of {', '.join(TYPES)}")
        if kind == "Event" and len(request.body) > EVENT_BYTES:
            raise RequestTooLarge(EVENT_BYTES)
        try:
            json.loads(request.body or b"{}")
        except ValueError as error:
            raise InvalidContent(str(error)) from error
        return "stream" if streaming and kind != "DryRun" else kind, target

    def _find(self, name: str, qualifier: str | None) -> Target:
        found = ARN.fullmatch(name)
        plain, derived = (found[1], found[2]) if found else (name, None)
        if derived and qualifier and derived != qualifier:
            raise InvalidParameter(
                "The derived qualifier from the function name does not match the specified qualifier."
            )
        named = derived or qualifier
        target = self._settings.qualifiers.find(named)
        if plain != self._settings.name or target is None:
            shown = f"{plain}:{named}" if named else plain
            raise FunctionNotFound(f"arn:aws:lambda:{self._settings.region}:{ACCOUNT}:function:{shown}")
        return target

    async def _invoke(self, request: HttpRequest, kind: str, target: Target, request_id: str, send: Send) -> None:
        call = Call(
            request.body or b"{}",
            streaming=kind == "stream",
            trace_id=request.header("x-amzn-trace-id") or new_trace_id(),
            client_context=_client_context(request.header("x-amz-client-context")),
            target=target,
            request_id=request_id,
        )
        if kind == "DryRun":
            await send_whole(send, 204, identifying(call), b"")
        elif kind == "Event":
            self._events.enqueue(call)
            await send_whole(send, 202, identifying(call), b"")
        else:
            invocation = self._pool.submit(call)
            wants_log = request.header("x-amz-log-type") == "Tail"
            try:
                await (_stream if kind == "stream" else _whole)(invocation, wants_log, send)
            finally:
                invocation.abandon()


def _client_context(header: str | None) -> str | None:
    """Decode the header, which comes in base64.

    Raises:
        InvalidParameter: It isn't JSON in base64.
    """
    if header is None:
        return None
    try:
        text = base64.b64decode(header, validate=True).decode("ascii")
        json.loads(text)
    except ValueError as error:
        raise InvalidParameter(f"X-Amz-Client-Context is not JSON in base64, ASCII only: {error}") from error
    return text


def _identified(invocation: Invocation) -> list[tuple[str, str]]:
    return [*identifying(invocation.call), ("x-amz-executed-version", invocation.call.target.version)]


async def _whole(invocation: Invocation, wants_log: bool, send: Send) -> None:
    payload = await invocation.whole()
    headers: Pairs = [*_identified(invocation), ("content-type", "application/json")]
    if invocation.error:
        headers = [*headers, ("x-amz-function-error", "Unhandled")]
    if wants_log:
        headers = [*headers, ("x-amz-log-result", await _log_result(invocation))]
    await send_whole(send, 200, headers, payload)


async def _stream(invocation: Invocation, wants_log: bool, send: Send) -> None:
    await send_head(send, 200, [*_identified(invocation), ("content-type", CONTENT_TYPE)])
    async for chunk in invocation.chunks():
        await send_part(send, payload_chunk(chunk))
    log = await _log_result(invocation) if wants_log else None
    error = invocation.error
    details = error.payload(invocation.call.request_id).decode(errors="replace") if error else None
    await send_part(send, invoke_complete(error.type if error else None, details, log))
    await send_part(send, b"", more=False)


async def _log_result(invocation: Invocation) -> str:
    await invocation.finished.wait()
    return base64.b64encode(invocation.log_tail).decode()
