"""A streamed answer on its way: the head with its first part, and comments while it is silent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.responses import Response
from starlette.types import Send

from handler.errors import ClientIdle, ResponseTooLarge
from handler.http.limits import Limits

HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
# https://html.spec.whatwg.org/multipage/server-sent-events.html: a line that begins with a colon is a comment
PING = b": ping\n\n"


class EventStream:
    """One stream of server-sent events.

    Args:
        send: ASGI's.
        limits: Of the request.
    """

    def __init__(self, send: Send, limits: Limits) -> None:
        self._send = send
        self._limits = limits
        self._sent = 0
        self._sent_at = time.monotonic()
        self.begun = False  # whether the status line is out, so that an error can't be a status any more

    @asynccontextmanager
    async def kept_alive(self) -> AsyncIterator[None]:
        """Send a comment whenever nothing has been sent for the heartbeat's time."""
        if not self._limits.heartbeat_s:
            yield
            return
        beating = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            beating.cancel()

    async def part(self, body: bytes) -> None:
        """Send a part of the answer.

        Raises:
            ClientIdle: The client takes nothing.
            ResponseTooLarge: The answer has more bytes than it may have.
        """
        self._sent += len(body)
        if self.begun and self._sent > self._limits.response:
            raise ResponseTooLarge(self._limits.response)
        await self.write(body)

    async def end(self) -> None:
        """Send the end."""
        await self.write(b"", more=False)

    async def write(self, body: bytes, more: bool = True) -> None:
        """Send something however much it is, an error for example.

        Raises:
            ClientIdle: The client takes nothing.
        """
        self._sent_at = time.monotonic()
        try:
            async with asyncio.timeout(self._limits.idle_s):
                await self._begin()
                await self._send({"type": "http.response.body", "body": body, "more_body": more})
        except TimeoutError:
            raise ClientIdle(self._limits.idle_s) from None
        # Neither uvicorn's send nor a queue with items gives way: a fast engine would starve other clients.
        await asyncio.sleep(0)

    async def _begin(self) -> None:
        if not self.begun:
            self.begun = True
            head = Response(headers=HEADERS, media_type="text/event-stream")
            del head.headers["content-length"]
            await self._send({"type": "http.response.start", "status": 200, "headers": head.raw_headers})

    async def _beat(self) -> None:
        while True:
            silent_s = time.monotonic() - self._sent_at
            if silent_s < self._limits.heartbeat_s:
                await asyncio.sleep(self._limits.heartbeat_s - silent_s)
                continue
            with suppress(ClientIdle):  # The answer's next part will find that out, too.
                await self.write(PING)
