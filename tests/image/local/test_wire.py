from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

from image.local.network import host_network
from image.local.wire import Answer, Request, WireServer

T = TypeVar("T")
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def serve(handler: Callable[[Request], Awaitable[Answer]], client: Callable[[Client], Awaitable[T]]) -> T:
    """Run a client against a server with this handler."""

    async def scenario() -> T:
        network = host_network()
        server = WireServer(network.listening, handler)
        await server.start()
        reader, writer = await asyncio.open_connection(*network.listening.getsockname())
        try:
            return await asyncio.wait_for(client((reader, writer)), 30)
        finally:
            writer.close()
            await server.close()

    return asyncio.run(scenario())


def test_chunks_as_they_come_and_trailers() -> None:
    seen: list[bytes] = []
    arrived = asyncio.Event()

    async def handler(request: Request) -> Answer:
        async for chunk in request.chunks():
            seen.append(chunk)
            arrived.set()
        return Answer(200, request.trailers["x-last"].encode())

    async def client(connection: Client) -> bytes:
        reader, writer = connection
        writer.write(b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
        await arrived.wait()
        writer.write(b"1\r\nb\r\n0\r\nX-Last: yes\r\n\r\n")
        return (await reader.readuntil(b"yes"))[-3:]

    assert serve(handler, client) == b"yes"
    assert seen == [b"a", b"b"]


def test_several_requests_on_one_connection() -> None:
    async def handler(request: Request) -> Answer:
        return Answer(200, request.path.encode() + b"!")

    async def client(connection: Client) -> list[bytes]:
        reader, writer = connection
        writer.write(b"GET /a HTTP/1.1\r\nhost: h\r\n\r\nGET /b?c HTTP/1.1\r\nhost: h\r\n\r\n")
        return [(await reader.readuntil(b"!"))[-3:] for _ in range(2)]

    assert serve(handler, client) == [b"/a!", b"/b!"]


def test_a_client_that_goes_cancels_what_it_waited_for() -> None:
    waiting, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> Answer:
        waiting.set()
        try:
            return await asyncio.Future[Answer]()
        finally:
            cancelled.set()

    async def client(connection: Client) -> None:
        connection[1].write(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        await waiting.wait()
        connection[1].close()
        await cancelled.wait()

    serve(handler, client)


def test_a_body_that_breaks_off_is_no_body() -> None:
    failed: asyncio.Queue[str] = asyncio.Queue()

    async def handler(request: Request) -> Answer:
        try:
            await request.body(100)
        except BaseException as error:
            failed.put_nowait(type(error).__name__)
            raise
        raise AssertionError

    async def client(connection: Client) -> str:
        connection[1].write(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nabc")
        connection[1].close()
        return await failed.get()

    assert serve(handler, client) == "ClientGone"


def test_answers_leave_at_once() -> None:
    async def handler(request: Request) -> Answer:
        return Answer(200)

    opened: list[int] = []

    async def scenario() -> None:
        network = host_network()

        async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted = writer.get_extra_info("socket")
            opened.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        server = await asyncio.start_server(note, sock=network.listening)
        reader, writer = await asyncio.open_connection(*network.listening.getsockname())
        await reader.read()
        writer.close()
        server.close()

    asyncio.run(scenario())
    assert opened == [1]
