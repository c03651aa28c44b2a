"""The function URL: HTTP → event → invoke → HTTP, streamed as it comes or whole."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator

from starlette.types import Receive, Scope, Send

from image.local.errors import ClientGone
from image.local.invocation import Call, Invocation, new_trace_id
from image.local.limits import REQUEST_BYTES
from image.local.logs import Log
from image.local.pool import Pool
from image.local.prelude import HTTP_INTEGRATION, Head, HeadInvalid, split_prelude
from image.local.refusals import Forbidden, RequestTooLarge, ServiceError
from image.local.settings import Settings
from image.local.sigv4 import check_signature
from image.local.url_event import make_event, read_buffered
from image.local.web import Cut, identifying, read_request, send_head, send_part, send_refusal, send_whole


class FunctionUrl:
    """An ASGI application that takes every path.

    Args:
        settings: Auth and invoke mode.
        pool: What invokes.
        log: For what Lambda doesn't tell the client.
    """

    def __init__(self, settings: Settings, pool: Pool, log: Log) -> None:
        self._settings = settings
        self._pool = pool
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = str(uuid.uuid4())
        try:
            invocation = self._pool.submit(await self._call(scope, receive, request_id))
        except ServiceError as error:
            if isinstance(error, Forbidden):
                self._log.line(f"function URL: 403, {error.reason}")
            await send_refusal(send, error, request_id)
            return
        except ClientGone:
            return
        try:
            if self._settings.invoke_mode == "RESPONSE_STREAM":
                await self._stream(invocation, send)
            else:
                await self._buffer(invocation, send)
        finally:
            invocation.abandon()  # The client may have gone; the function goes on, as in Lambda.

    async def _call(self, scope: Scope, receive: Receive, request_id: str) -> Call:
        request = await read_request(scope, receive)
        if self._settings.url_auth == "AWS_IAM":
            check_signature(request, self._settings, time.time())
        trace_id = request.header("x-amzn-trace-id") or new_trace_id()
        event = make_event(request, self._settings, request_id, trace_id)
        if len(event) > REQUEST_BYTES:  # What is in base64 counts as that.
            raise RequestTooLarge()
        streaming = self._settings.invoke_mode == "RESPONSE_STREAM"
        return Call(event, streaming, trace_id, target=self._settings.qualifiers.served, request_id=request_id)

    async def _stream(self, invocation: Invocation, send: Send) -> None:
        await invocation.response_begun()
        chunks = invocation.chunks()
        try:
            head, first = await _head(invocation, chunks)
        except HeadInvalid as error:
            self._log.line(f"function URL: 502, {error}")
            await self._bad_gateway(invocation, send)
            return
        if not first and invocation.drained and invocation.error:
            await self._bad_gateway(invocation, send)
            return
        await send_head(send, head.status, [*head.headers, *identifying(invocation.call)])
        if first:
            await send_part(send, first)
        async for chunk in chunks:
            await send_part(send, chunk)
        if invocation.error:
            raise Cut(invocation.error.type)
        await send_part(send, b"", more=False)

    async def _buffer(self, invocation: Invocation, send: Send) -> None:
        payload = await invocation.whole()
        if invocation.error:
            await self._bad_gateway(invocation, send)
            return
        try:
            head, body = read_buffered(payload)
        except ValueError as error:
            self._log.line(f"function URL: 502, {error}")
            await self._bad_gateway(invocation, send)
            return
        await send_whole(send, head.status, [*head.headers, *identifying(invocation.call)], body)

    async def _bad_gateway(self, invocation: Invocation, send: Send) -> None:
        headers = [("content-type", "application/json"), *identifying(invocation.call)]
        if invocation.error:
            headers.append(("x-amzn-errortype", invocation.error.type))
        await send_whole(send, 502, headers, b"Internal Server Error")


async def _head(invocation: Invocation, chunks: AsyncIterator[bytes]) -> tuple[Head, bytes]:
    """Return status and headers, and what of the body came with them."""
    if invocation.content_type == HTTP_INTEGRATION:
        return await split_prelude(chunks)
    return Head(200, (("content-type", invocation.content_type),)), b""
