"""The two public endpoints: uvicorn on sockets of their own, in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from image.local.errors import PortInUse

GRACE_S = 3


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # Two servers share the loop, so signals are the caller's.


def open_socket(option: str, port: int) -> socket.socket:
    """Bind a port of the loopback.

    Raises:
        PortInUse: It can't be had.
    """
    # asyncio switches Nagle's algorithm off only where the protocol is named; with it, small chunks would wait.
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind(("127.0.0.1", port))
        opened.listen()
    except OSError as error:
        opened.close()
        raise PortInUse(option, port, error.strerror or str(error)) from error
    return opened


def make_server(app: ASGIApp) -> uvicorn.Server:
    """Make a server that sends every part of an answer as soon as it is there."""
    # A response that is cut on purpose is an error to uvicorn, and would be logged as one.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=GRACE_S,
    )
    return _Server(config)


async def until_signal() -> None:
    """Wait for SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    await asked.wait()
