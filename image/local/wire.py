"""A small HTTP/1.1 server on h11 for the Runtime API.

Web frameworks hide what it needs: a request's body as it arrives, its trailers, and the moment when a client that waits
for an answer goes away.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import h11

from image.local.errors import ClientGone

READ_BYTES = 65_536


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def json(status: int, value: object, **headers: str) -> Answer:
        """Make an answer of JSON; underscores in header names become hyphens."""
        named = {key.replace("_", "-"): text for key, text in headers.items()}
        return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})


class Request:
    """A request whose body is still arriving.

    Attributes:
        method: In capitals.
        path: Without the query.
        headers: By their small names.
        trailers: By their small names, once the body was read to its end.
    """

    def __init__(self, event: h11.Request, connection: _Connection) -> None:
        self.method = event.method.decode()
        self.path = event.target.decode("latin-1").split("?")[0]
        self.headers = _texts(event.headers)
        self.trailers: dict[str, str] = {}
        self._connection = connection

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives.

        Raises:
            ClientGone: The connection ended first.
        """
        while not isinstance(event := await self._connection.next_event(), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                raise ClientGone()
            yield bytes(event.data)
        self.trailers = _texts(event.headers)

    async def body(self, limit: int) -> bytes:
        """Read the body; of what is longer, only the first `limit + 1` bytes are kept."""
        kept = bytearray()
        async for chunk in self.chunks():
            kept += chunk[: max(0, limit + 1 - len(kept))]
        return bytes(kept)


Handler = Callable[[Request], Awaitable[Answer]]


class WireServer:
    """Serves one listening socket until it is closed."""

    def __init__(self, listening: socket.socket, handler: Handler) -> None:
        self._listening = listening
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to take connections."""
        self._server = await asyncio.start_server(self._serve, sock=self._listening)

    async def close(self) -> None:
        """Close the socket and every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await _Connection(reader, writer).serve(self._handler)
        except (ClientGone, OSError, asyncio.CancelledError):
            pass  # Who is gone needs no answer.
        finally:
            self._tasks.discard(task)
            writer.close()


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._h11 = h11.Connection(h11.SERVER)

    async def next_event(self) -> Any:
        try:
            while (event := self._h11.next_event()) is h11.NEED_DATA:
                if self._h11.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=100, headers=[]))
                self._h11.receive_data(await self._reader.read(READ_BYTES))
        except (OSError, h11.RemoteProtocolError) as error:  # Broken off, or no HTTP.
            raise ClientGone() from error
        return event

    async def serve(self, handler: Handler) -> None:
        while isinstance(event := await self.next_event(), h11.Request):
            request = Request(event, self)
            if request.method == "GET":
                await request.body(0)
                answer = await self._answer_while_there(handler, request)
            else:
                answer = await handler(request)
            await self._reply(answer)
            if self._h11.our_state is h11.MUST_CLOSE or self._h11.their_state is not h11.DONE:
                return
            self._h11.start_next_cycle()

    async def _answer_while_there(self, handler: Handler, request: Request) -> Answer:
        """Answer, unless the client goes first: then the handler is cancelled."""
        answering = asyncio.ensure_future(handler(request))
        watching = asyncio.ensure_future(self._reader.read(READ_BYTES))
        try:
            await asyncio.wait([answering, watching], return_when=asyncio.FIRST_COMPLETED)
            if not answering.done() and not _read(watching):
                raise ClientGone()
            return await answering
        finally:
            answering.cancel()
            if not watching.done():
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching
            elif data := _read(watching):
                self._h11.receive_data(data)  # The next request came early.

    async def _reply(self, answer: Answer) -> None:
        named = {**answer.headers, "Content-Length": str(len(answer.body))}
        headers = [(name.encode(), value.encode("latin-1")) for name, value in named.items()]
        await self._send(h11.Response(status_code=answer.status, headers=headers))
        await self._send(h11.Data(data=answer.body))
        await self._send(h11.EndOfMessage())

    async def _send(self, event: Any) -> None:
        self._writer.write(self._h11.send(event) or b"")
        await self._writer.drain()


def _read(watching: asyncio.Future[bytes]) -> bytes:
    return b"" if watching.cancelled() or watching.exception() else watching.result()


def _texts(headers: Any) -> dict[str, str]:
    return {name.decode(): value.decode("latin-1") for name, value in headers}
