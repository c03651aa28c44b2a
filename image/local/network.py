"""Where an environment finds the Runtime API: on this machine's loopback, or on a loopback of its own."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from image.local.errors import NetworkUnavailable
from image.local.limits import RUNTIME_API_PORT

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
RELAY_BYTES = 65_536


@dataclass
class Network:
    """A network that an environment's processes are in.

    Attributes:
        listening: The Runtime API's socket.
        address: The same, as the processes see it.
        path: A file that stands for the network namespace; None for the host's.
    """

    listening: socket.socket
    address: str
    path: str | None
    _relayed: Sequence[tuple[int, socket.socket]] = ()
    _namespace: int | None = None
    _servers: Sequence[asyncio.Server] = ()

    async def start(self) -> None:
        """Begin to relay what the namespace may reach outside."""
        self._servers = [await asyncio.start_server(_relay_to(port), sock=opened) for port, opened in self._relayed]

    def close(self) -> None:
        """Close the sockets; the namespace ends with its last process."""
        for server in self._servers:
            server.close()
        self.listening.close()
        if self._namespace is not None:
            os.close(self._namespace)
            self._namespace = None


def host_network() -> Network:
    """Return this machine's own network, with the Runtime API on a free port of its loopback."""
    listening = _listening("127.0.0.1", 0)
    return Network(listening, f"127.0.0.1:{listening.getsockname()[1]}", None)


def private_network(reach: Sequence[int] = ()) -> Network:
    """Make a network namespace that has a loopback and nothing else.

    A socket belongs for ever to the namespace in which it was made, so this process can serve sockets of many.

    Args:
        reach: Ports of this machine's loopback that are there too.

    Raises:
        NetworkUnavailable: The kernel doesn't let us.
    """
    made: list[Network | OSError] = []

    def work() -> None:  # In a thread of its own, which takes the new namespace with it when it ends.
        try:
            made.append(_enter_and_listen(reach))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise NetworkUnavailable(made[0].strerror or str(made[0])) from made[0]
    return made[0]


def _enter_and_listen(reach: Sequence[int]) -> Network:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    _raise_loopback()
    listening = _listening("127.0.0.1", RUNTIME_API_PORT)
    relayed = [(port, _listening("127.0.0.1", port)) for port in reach]
    path = f"/proc/{os.getpid()}/fd/{namespace}"
    return Network(listening, f"127.0.0.1:{RUNTIME_API_PORT}", path, relayed, namespace)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh22x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))


def _listening(host: str, port: int) -> socket.socket:
    # asyncio switches Nagle's algorithm off only where the protocol is named; with it, each answer takes 40 ms more.
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    opened.bind((host, port))
    opened.listen()
    return opened


def _relay_to(port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))

    return relay


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(RELAY_BYTES):
            writer.write(data)
            await writer.drain()
    writer.close()
