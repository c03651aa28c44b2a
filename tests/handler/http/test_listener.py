from __future__ import annotations

import asyncio
import socket

import pytest

from handler.errors import PortInUse
from handler.http.listener import listen, open_socket


def test_a_free_port_is_in_the_url() -> None:
    with open_socket("127.0.0.1", 0) as opened:
        assert listen(opened) == f"http://127.0.0.1:{opened.getsockname()[1]}"


def test_a_port_in_use_is_refused_before_anything_is_loaded() -> None:
    with open_socket("127.0.0.1", 0) as opened:
        listen(opened)
        port = opened.getsockname()[1]
        with pytest.raises(PortInUse, match=str(port)):
            open_socket("127.0.0.1", port)


def test_of_two_that_load_at_once_the_second_is_refused() -> None:
    with open_socket("127.0.0.1", 0) as first, open_socket("127.0.0.1", first.getsockname()[1]) as second:
        listen(first)
        with pytest.raises(PortInUse):
            listen(second)


@pytest.mark.parametrize("host", ["256.1.1.1", "x" * 300, "192.0.2.1"])
def test_an_address_of_somebody_else_is_refused(host: str) -> None:
    with pytest.raises(PortInUse, match="cannot listen"):
        open_socket(host, 0)


def test_answers_leave_at_once() -> None:
    async def nodelay_of_an_accepted_connection() -> int:
        options: asyncio.Queue[int] = asyncio.Queue()

        async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted = writer.get_extra_info("socket")
            options.put_nowait(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with open_socket("127.0.0.1", 0) as opened:
            listen(opened)
            server = await asyncio.start_server(note, sock=opened)
            _, writer = await asyncio.open_connection(*opened.getsockname())
            writer.close()
            option = await options.get()
            server.close()
        return option

    assert asyncio.run(nodelay_of_an_accepted_connection()) == 1
