"""`python -m image.local`: settings → sockets → endpoints → invokes, until a signal."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from image.local.asynchronous import EventQueue
from image.local.container import Container
from image.local.destinations import Destinations
from image.local.environment import Environment
from image.local.errors import StartError
from image.local.event_source import EventSource, read_event_source
from image.local.function_url import FunctionUrl
from image.local.invoke_api import InvokeApi
from image.local.limits import QUEUE_GRACE_S
from image.local.logs import Log
from image.local.network import host_network, private_network
from image.local.podman import Image, inspect_image
from image.local.pool import Pool
from image.local.processes import Processes
from image.local.queue_poller import QueuePoller
from image.local.server import make_server, open_socket, until_signal
from image.local.settings import Settings, read_settings
from image.local.slot import Slot
from image.local.variables import TASK_ROOT


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a function until a signal.

    Returns:
        The exit code: 0 after a signal, 2 if something prevents the start.
    """
    try:
        settings = read_settings(arguments, environ)
        make = environment_maker(settings)
        source = read_event_source(settings, settings.queue) if settings.queue else None
        asyncio.run(run(settings, make, Destinations(settings), source))
    except StartError as error:
        print(f"local Lambda: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def environment_maker(settings: Settings) -> Callable[[str, Log], Environment]:
    """Return what makes environments of a version, having checked that it can.

    Raises:
        StartError: The image can't be used, or no network can be made.
    """
    if settings.network == "private":
        private_network().close()
    image = inspect_image(settings.image) if settings.image else None
    return functools.partial(_make_environment, settings, image)


def _make_environment(settings: Settings, image: Image | None, version: str, log: Log) -> Environment:
    network = private_network(settings.reach) if settings.network == "private" else host_network()
    if image is not None:
        return Environment(settings, Container(settings, image, network.path), network, TASK_ROOT, version, log)
    prefix = ("nsenter", f"--net={network.path}", "--") if network.path else ()
    processes = Processes(settings.command, settings.extensions, prefix)
    return Environment(settings, processes, network, os.getcwd(), version, log)


async def run(
    settings: Settings,
    make: Callable[[str, Log], Environment],
    destinations: Destinations,
    source: EventSource | None,
) -> None:
    """Offer the function URL and the Invoke API, and poll the queue, if there is one.

    Raises:
        PortInUse: One of the ports can't be had.
    """
    url_socket = open_socket("--port", settings.port)
    api_socket = open_socket("--api-port", settings.api_port)
    log = Log()
    pool = Pool(settings.concurrency, lambda version: Slot(settings, version, make, Log()))
    events = EventQueue(settings.asynchronous, pool, destinations, log)
    poller = QueuePoller(source, settings.region, settings.qualifiers.served, pool, log) if source else None
    servers = [make_server(FunctionUrl(settings, pool, log)), make_server(InvokeApi(settings, pool, events))]
    serving = [
        asyncio.create_task(server.serve(sockets=[opened]))
        for server, opened in zip(servers, (url_socket, api_socket), strict=True)
    ]
    log.line(
        json.dumps(
            {
                "event": "ready",
                "function": settings.name,
                "function_url": f"http://127.0.0.1:{url_socket.getsockname()[1]}/",
                "invoke_api": f"http://127.0.0.1:{api_socket.getsockname()[1]}",
            }
        )
    )
    if poller:
        poller.start(settings.timeout_s)
    await until_signal()
    if poller:
        await poller.close(QUEUE_GRACE_S)
    await events.close()
    await pool.close()
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*serving)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
