"""The Invoke API, so that boto3 works with `endpoint_url`.

https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html and API_InvokeWithResponseStream.html
"""

import base64
import json
import re
import uuid
from urllib.parse import parse_qs, unquote

from starlette.types import Receive, Scope, Send

from image.local.errors import ClientGone
from image.local.event_stream import CONTENT_TYPE, invoke_complete, payload_chunk
from image.local.invocation import Call, Invocation, new_trace_id
from image.local.limits import ACCOUNT, EVENT_BYTES, VERSION
from image.local.pool import Pool
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
    """

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = str(uuid.uuid4())
        try:
            request = await read_request(scope, receive)
            kind = self._check(request)
            await self._invoke(request, kind, request_id, send)
        except ServiceError as error:
            await send_refusal(send, error, request_id)
        except ClientGone:
            pass

    def _check(self, request: HttpRequest) -> str:
        """Return the invocation type; `stream` stands for a response stream.

        Raises:
            ServiceError: Lambda would refuse the request.
        """
        streaming = INVOKE_STREAM.fullmatch(request.path)
        found = streaming or INVOKE.fullmatch(request.path)
        if request.method != "POST" or found is None:
            raise PathNotFound(request.path)
        self._check_name(unquote(found[1]), parse_qs(request.query).get("Qualifier", [VERSION])[0])
        kind = request.header("x-amz-invocation-type") or "RequestResponse"
        if kind not in TYPES or (streaming and kind == "Event"):
            raise InvalidParameter(f"X-Amz-Invocation-Type {kind!r} is not valid: use one of {', '.join(TYPES)}")
        if kind == "Event" and len(request.body) > EVENT_BYTES:
            raise RequestTooLarge(EVENT_BYTES)
        try:
            json.loads(request.body or b"{}")
        except ValueError as error:
            raise InvalidContent(str(error)) from error
        return "stream" if streaming and kind != "DryRun" else kind

    def _check_name(self, name: str, qualifier: str) -> None:
        found = ARN.fullmatch(name)
        qualifier = (found and found[2]) or qualifier
        if found is None or found[1] != self._settings.name or qualifier != VERSION:
            shown = f"{found[1]}:{qualifier}" if found and qualifier != VERSION else (found[1] if found else name)
            raise FunctionNotFound(f"arn:aws:lambda:{self._settings.region}:{ACCOUNT}:function:{shown}")

    async def _invoke(self, request: HttpRequest, kind: str, request_id: str, send: Send) -> None:
        call = Call(
            request.body or b"{}",
            streaming=kind == "stream",
            trace_id=request.header("x-amzn-trace-id") or new_trace_id(),
            client_context=_client_context(request.header("x-amz-client-context")),
            request_id=request_id,
        )
        if kind == "DryRun":
            await send_whole(send, 204, identifying(call), b"")
        elif kind == "Event":
            self._pool.enqueue(call)
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
    return [*identifying(invocation.call), ("x-amz-executed-version", VERSION)]


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
