"""`python -m bench.abuse DIR`: what strangers do to a server in the open, and whether it still answers.

Idle connections, heads that come a byte at a time, headers without an end, clients that leave, and requests generated
by the server's own description. Beside all of it, a watcher asks for /health. Nothing may end as a 5xx or hang, and the
server's memory stays.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

import httpx

from bench.machine import print_ceiling
from bench.server import Server

PATIENCE_S = 60.0  # what takes longer hangs
BYTE_EVERY_S = 0.2
MOST_GROWTH = 64 * 2**20  # bytes: what caches of prompts and the allocator take, and no more
BOMB = b"x-bomb: " + b"a" * 8000 + b"\r\n"

Stranger = Callable[[], Awaitable[str]]


class Watch:
    """Asks for /health again and again, over a connection of its own each time.

    Attributes:
        answers: how often each status came, or the name of an error.
        slowest_ms: of the answers.
    """

    def __init__(self, url: str) -> None:
        self.answers: Counter[str] = Counter()
        self.slowest_ms = 0.0
        self._url = f"{url}/health"
        self._end = Event()
        self._thread = Thread(target=self._work)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._end.wait(0.1):
            started = time.perf_counter()
            try:
                answer = str(httpx.get(self._url, timeout=PATIENCE_S).status_code)
            except httpx.HTTPError as error:
                answer = type(error).__name__
            self.answers[answer] += 1
            self.slowest_ms = max(self.slowest_ms, (time.perf_counter() - started) * 1e3)


class Strangers:
    """Clients that mean no good.

    Args:
        url: the server's.
        model: the server's.
        seconds: for which those stay that only wait.
    """

    def __init__(self, url: str, model: str, seconds: float) -> None:
        address = urlsplit(url)
        self._address = (address.hostname or "", address.port or 80)
        self._model = model
        self._seconds = seconds
        self._random = random.Random(1)

    async def idle(self) -> str:
        """Connect and say nothing."""
        reader, writer = await asyncio.open_connection(*self._address)
        try:
            return _ended(await asyncio.wait_for(reader.read(), self._seconds))
        except TimeoutError:
            return "kept"
        finally:
            writer.close()

    async def byte_by_byte(self) -> str:
        """Send a head that never comes to its end."""
        reader, writer = await asyncio.open_connection(*self._address)
        answer = asyncio.create_task(reader.read())
        until = time.monotonic() + self._seconds
        try:
            writer.write(b"GET /health HTTP/1.1\r\nx: ")
            while not answer.done() and time.monotonic() < until:
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(BYTE_EVERY_S)
            return _ended(await answer) if answer.done() else "kept"
        finally:
            answer.cancel()
            writer.close()

    async def bomb(self) -> str:
        """Send headers until the server has had enough."""
        reader, writer = await asyncio.open_connection(*self._address)
        writer.write(b"GET /health HTTP/1.1\r\nhost: x\r\n")
        with suppress(ConnectionError):  # It has been refused already.
            for _ in range(100):
                writer.write(BOMB)
                await writer.drain()
        try:
            return _ended(await asyncio.wait_for(reader.read(), PATIENCE_S))
        except TimeoutError:
            return "hung"
        finally:
            writer.close()

    async def leave(self) -> str:
        """Ask for a long answer and go."""
        _, writer = await asyncio.open_connection(*self._address)
        members = {"prompt": "Once upon a time", "max_tokens": 500, "stream": self._random.random() < 0.5}
        body = json.dumps({"model": self._model, **members}).encode()
        writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await asyncio.sleep(self._random.random() * 0.2)
        writer.close()
        return "left"


def _ended(received: bytes) -> str:
    """What became of a connection: a status, or closed without one."""
    return received.split(b" ", 2)[1].decode() if received.startswith(b"HTTP/1.1 ") else "closed"


async def crowd(stranger: Stranger, count: int) -> Counter[str]:
    """Let so many be there at once; gives what became of them."""

    async def one() -> str:
        try:
            return await asyncio.wait_for(stranger(), 2 * PATIENCE_S)
        except TimeoutError:
            return "hung"
        except OSError:
            return "reset"

    return Counter(await asyncio.gather(*(one() for _ in range(count))))


def answered(url: str, model: str) -> str:
    """Ask as somebody who means well, again where the queue is full; gives the status."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        body = {"model": model, "prompt": "Once", "max_tokens": 4}
        try:
            status = httpx.post(f"{url}/v1/completions", json=body, timeout=PATIENCE_S).status_code
        except httpx.HTTPError:
            return "hung"
        if status != 429:
            return str(status)
        time.sleep(0.1)
    return "hung"


def generated(url: str, count: int) -> Counter[str]:
    """Send requests by the server's description, right ones and wrong ones, to each operation alike; gives statuses."""
    import schemathesis  # Half a second, and only this wants it.
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from hypothesis.errors import Unsatisfiable
    from schemathesis import GenerationMode
    from schemathesis.core.result import Ok

    found: Counter[str] = Counter()
    description = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [result.ok() for result in description.get_all_operations() if isinstance(result, Ok)]
    # Those without a body can be asked in few ways: they get as many as the others, and run out of them.
    each = -(-count // (2 * sum(operation.method == "post" for operation in operations)))

    for operation in operations:
        for mode in GenerationMode:
            with suppress(Unsatisfiable):  # An operation without parameters has no wrong requests.
                strategy = operation.as_strategy(generation_mode=mode)

                @seed(1)
                @settings(
                    max_examples=each,
                    deadline=None,
                    database=None,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )
                @given(strategy)
                def send(case: Any) -> None:
                    try:
                        found[str(case.call(timeout=PATIENCE_S).status_code)] += 1
                    except OSError as error:  # requests' errors are of this kind
                        found["hung" if "timed out" in str(error) else "reset"] += 1

                send()
    return found


@contextmanager
def serving(args: argparse.Namespace) -> Iterator[tuple[str, str, Server | None]]:
    """The server: one that runs already, or one of our own that is small enough to be filled."""
    if args.url:
        model = httpx.get(f"{args.url}/v1/models").json()["data"][0]["id"]
        yield args.url.rstrip("/"), model, None
        return
    values = {"CONNECTIONS": args.connections, "HEAD_S": 2, "MAX_TOKENS": 4, "MAX_TOKENS_CAP": 500, "VERIFY": "quick"}
    with Server(args.model_dir, **{f"FIREBRICK_{name}": str(value) for name, value in values.items()}) as server:
        yield server.url, server.ready["model"], server


def attack(url: str, model: str, server: Server | None, args: argparse.Namespace) -> dict[str, Any]:
    """Let all strangers come, one kind after the other; gives figures."""
    strangers = Strangers(url, model, args.seconds)
    kinds = {
        "idle": (strangers.idle, args.connected),
        "byte_by_byte": (strangers.byte_by_byte, args.connected),
        "header_bombs": (strangers.bomb, args.bombs),
        "cancelled": (strangers.leave, args.cancelled),
    }
    figures: dict[str, Any] = {}
    memory: list[int] = []
    for name, (stranger, count) in kinds.items():
        figures[name] = dict(asyncio.run(crowd(stranger, count)))
        figures[f"after_{name}"] = answered(url, model)
        memory += [server.memory()["anonymous"]] if server else []
    figures["generated"] = dict(generated(url, args.count))
    memory += [server.memory()["anonymous"]] if server else []
    return figures | {"anonymous_bytes": memory}


def faults(figures: dict[str, Any], watch: Watch) -> list[str]:
    """What must not be."""
    found = [f"/health: {count} times {answer}" for answer, count in watch.answers.items() if answer != "200"]
    memory = figures["anonymous_bytes"]
    if memory and memory[-1] - memory[0] > MOST_GROWTH:
        found.append(f"memory has grown from {memory[0]:,} to {memory[-1]:,} bytes")
    for name, outcome in figures.items():
        statuses = outcome if isinstance(outcome, dict) else {outcome: 1} if isinstance(outcome, str) else {}
        bad = {status: n for status, n in statuses.items() if status == "hung" or status.startswith("5")}
        found += [f"{name}: {n} times {status}" for status, n in bad.items()]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 1 where the server did what it must not."""
    parser = argparse.ArgumentParser(prog="python -m bench.abuse", description="Abuse a server, and see how it is.")
    parser.add_argument("model_dir", type=Path, metavar="DIR")
    parser.add_argument("--url", help="of a server that runs already, in place of one that is started")
    parser.add_argument("--connections", type=int, default=400, help="that a started server takes (%(default)s)")
    parser.add_argument("--connected", type=int, default=500, help="idle ones, and slow ones (%(default)s)")
    parser.add_argument("--seconds", type=float, default=6.0, help="for which they stay (%(default)s)")
    parser.add_argument("--bombs", type=int, default=300, help="clients with endless headers (%(default)s)")
    parser.add_argument("--cancelled", type=int, default=300, help="clients that leave (%(default)s)")
    parser.add_argument("--count", type=int, default=1000, help="generated requests (%(default)s)")
    args = parser.parse_args(arguments)
    machine = print_ceiling()
    with serving(args) as (url, model, server):
        answered(url, model)  # maps the weights
        with Watch(url) as watch:
            figures = attack(url, model, server, args)
    wrong = faults(figures, watch)
    figures |= {"health": dict(watch.answers), "health_slowest_ms": round(watch.slowest_ms)}
    for name, value in figures.items():
        print(f"{name:<24}{value}")
    for fault in wrong:
        print(f"error: {fault}", file=sys.stderr)
    print(
        json.dumps({"bench": "abuse", "artefact": str(args.model_dir), **figures, "faults": wrong, "machine": machine})
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
