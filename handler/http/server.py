"""uvicorn around the application: readiness, bounds for strangers, and an end in good order."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from starlette.types import ASGIApp

from handler.http.connection import Connection
from handler.http.connections import Bounds, Connections
from handler.http.limits import LARGEST_HEAD
from handler.http.listener import BACKLOG
from handler.logs import Log, Notices
from handler.scheduler import Scheduler

if TYPE_CHECKING:
    from handler.snapshot import Snapshot  # Most servers have none.

ACCEPTED_AT_ONCE = 32  # A tick of the loop accepts so many before the first of them is counted.
TICKS_A_SWEEP = 5  # uvicorn ticks ten times a second
LAST_WORDS_S = 5.0  # for connections whose work was ended to take their last event


def serve(
    app: ASGIApp,
    scheduler: Scheduler[Any],
    opened: socket.socket,
    grace_s: float,
    on_ready: Callable[[], None],
    log: Log,
    bounds: Bounds,
    snapshot: Snapshot | None = None,
) -> None:
    """Answer until SIGTERM or SIGINT, then finish what is in flight or, after the grace period, end it.

    Args:
        app: The application.
        scheduler: What it works on; drained at the end.
        opened: The socket.
        grace_s: Seconds that what is in flight may take after the signal.
        on_ready: Called when requests are taken.
        log: Where uvicorn's own warnings go, too.
        bounds: What strangers may take.
        snapshot: Told what to do with connections before a checkpoint; None where there is none.
    """
    logging.getLogger().addHandler(Notices(log))
    connections = Connections(bounds, log)
    if snapshot is not None:
        snapshot.on_before(connections.close_idle)
    server = Server(app, scheduler, grace_s, on_ready, connections)
    # uvicorn raises the signal again after its own handler has done all: then it must not kill the process.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run(sockets=[opened])
    for number in (signal.SIGTERM, signal.SIGINT):  # A second signal must not change the exit code.
        signal.signal(number, signal.SIG_IGN)


class Server(uvicorn.Server):
    """uvicorn's, with our connections.

    Args:
        app: The application.
        scheduler: What it works on; drained at the end.
        grace_s: Seconds that what is in flight may take at the end.
        on_ready: Called when requests are taken.
        connections: All of them.
    """

    def __init__(
        self,
        app: ASGIApp,
        scheduler: Scheduler[Any],
        grace_s: float,
        on_ready: Callable[[], None],
        connections: Connections,
    ) -> None:
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=cast(Any, partial(Connection, connections)),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            h11_max_incomplete_event_size=LARGEST_HEAD,
            backlog=ACCEPTED_AT_ONCE,
            timeout_keep_alive=math.ceil(connections.bounds.keep_alive_s),  # uvicorn wants whole seconds
            timeout_graceful_shutdown=int(grace_s + LAST_WORDS_S) + 1,
        )
        super().__init__(config)
        self._scheduler = scheduler
        self._grace_s = grace_s
        self._on_ready = on_ready
        self._connections = connections

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(self._note_failure)
        await super().startup(sockets)
        for opened in sockets or ():
            opened.listen(BACKLOG)  # asyncio takes one number for the queue's length and for what a tick accepts.
        self._on_ready()

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_A_SWEEP == 0:
            self._connections.sweep(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        draining = asyncio.create_task(self._scheduler.drain(self._grace_s))
        await super().shutdown(sockets)
        draining.cancel()

    def _note_failure(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        if "accept" in context["message"]:  # No descriptor is left. asyncio tries again in a second, by the thousand.
            self._connections.count("no_descriptor")
        else:
            loop.default_exception_handler(dict(context))
