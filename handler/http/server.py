"""uvicorn around the application: readiness, and an end in good order."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from handler.http.listener import BACKLOG
from handler.logs import Log, Notices
from handler.scheduler import Scheduler

KEEP_ALIVE_S = 75  # longer than load balancers keep theirs, or they would send into a closing connection
LAST_WORDS_S = 5.0  # for connections whose work was ended to take their last event


def serve(
    app: ASGIApp,
    scheduler: Scheduler[Any],
    opened: socket.socket,
    grace_s: float,
    on_ready: Callable[[], None],
    log: Log,
) -> None:
    """Answer until SIGTERM or SIGINT, then finish what is in flight or, after the grace period, end it.

    Args:
        app: The application.
        scheduler: What it works on; drained at the end.
        opened: The socket.
        grace_s: Seconds that what is in flight may take after the signal.
        on_ready: Called when requests are taken.
        log: Where uvicorn's own warnings go, too.
    """
    logging.getLogger().addHandler(Notices(log))
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(grace_s + LAST_WORDS_S) + 1,
    )
    # uvicorn raises the signal again after its own handler has done all: then it must not kill the process.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    _Server(config, scheduler, grace_s, on_ready).run(sockets=[opened])
    for number in (signal.SIGTERM, signal.SIGINT):  # A second signal must not change the exit code.
        signal.signal(number, signal.SIG_IGN)


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, scheduler: Scheduler[Any], grace_s: float, on_ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._scheduler = scheduler
        self._grace_s = grace_s
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        draining = asyncio.create_task(self._scheduler.drain(self._grace_s))
        await super().shutdown(sockets)
        draining.cancel()
