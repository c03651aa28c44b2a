from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from image.local.errors import NetworkUnavailable
from image.local.network import host_network, private_network

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make network namespaces")
CLIENT = (
    "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 10); print(s.recv(99).decode())"
)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"here")
    writer.close()


async def ask_from(path: str, port: int) -> str:
    command = ["nsenter", f"--net={path}", sys.executable, "-c", CLIENT, str(port)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    output, _ = await process.communicate()
    return output.decode().strip()


@root
def test_a_socket_serves_another_namespace() -> None:
    async def scenario() -> str:
        network = private_network()
        async with await asyncio.start_server(answer, sock=network.listening):
            assert network.path is not None
            return await ask_from(network.path, 9001)

    assert asyncio.run(scenario()) == "here"


@root
def test_only_what_may_be_reached_is() -> None:
    async def scenario() -> list[str]:
        outside = host_network().listening
        port = outside.getsockname()[1]
        network, closed = private_network([port]), private_network()
        assert network.path is not None
        assert closed.path is not None
        async with await asyncio.start_server(answer, sock=outside):
            await network.start()
            answers = [await ask_from(path, port) for path in (network.path, closed.path)]
        network.close()
        closed.close()
        return answers

    assert asyncio.run(scenario()) == ["here", ""]


def test_a_kernel_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("image.local.network._enter_and_listen", refuse)
    with pytest.raises(NetworkUnavailable, match="Operation not permitted; be root, or use --network host"):
        private_network()
