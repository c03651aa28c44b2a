"""`python -m bench.load DIR`: the real server under several clients at once, against the same server under one.

Clients take requests from a common pool, one at a time each, so that a client that is kept waiting makes fewer tokens.
Phases of one client and of all take turns. Prompts are random and share no beginning; nothing is guessed unless
`--lookup` is given, since greedy answers to random prompts repeat themselves more than a real answer does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from bench.machine import print_ceiling
from bench.server import Server

FOREVER = httpx.Timeout(None, connect=60)
UNLIMITED = httpx.Limits(max_connections=None)


@dataclass(frozen=True)
class Load:
    """What a request asks for.

    Attributes:
        model: the server's.
        prompt_tokens: each of its own.
        tokens: of the answer.
        vocab_size: random prompts are drawn from.
        eos_token_ids: forbidden, so that every answer has its length.
    """

    model: str
    prompt_tokens: int
    tokens: int
    vocab_size: int
    eos_token_ids: Sequence[int]

    def bodies(self, count: int, seed: int) -> Iterator[dict[str, Any]]:
        """`count` requests, the same ones for the same seed."""
        rng = random.Random(seed)
        for _ in range(count):
            yield {
                "model": self.model,
                "prompt": [rng.randrange(self.vocab_size) for _ in range(self.prompt_tokens)],
                "max_tokens": self.tokens,
                "temperature": 0,
                "logit_bias": {str(id): -100 for id in self.eos_token_ids},
                "stream": True,
            }


@dataclass(frozen=True)
class Reply:
    """What came of a request.

    Attributes:
        status: of the response.
        first_token_ms: from sending the request to the first piece of the stream.
        tokens: of the answer.
        error: what a response that isn't 200 says.
    """

    status: int
    first_token_ms: float = 0.0
    tokens: int = 0
    error: str = ""


@dataclass(frozen=True)
class Phase:
    """What some clients got together.

    Attributes:
        seconds: from the first request to the last answer's end.
        replies: of each client.
    """

    seconds: float
    replies: list[list[Reply]]

    @property
    def tokens(self) -> list[int]:
        """Of each client."""
        return [sum(reply.tokens for reply in replies) for replies in self.replies]

    @property
    def first_token_ms(self) -> list[float]:
        """Of every answer."""
        return [reply.first_token_ms for replies in self.replies for reply in replies]


def client_of(url: str) -> httpx.AsyncClient:
    """A client of the server; without certificates, which take milliseconds to read."""
    return httpx.AsyncClient(base_url=url, timeout=FOREVER, limits=UNLIMITED, verify=False)


async def ask(client: httpx.AsyncClient, body: dict[str, Any]) -> Reply:
    """Stream one completion."""
    started = time.perf_counter()
    async with client.stream("POST", "/v1/completions", json=body) as response:
        first, tail = 0.0, b""
        async for piece in response.aiter_raw():
            first = first or time.perf_counter()
            tail = (tail + piece)[-4096:]
    if response.status_code != 200:
        return Reply(response.status_code, error=tail.decode())
    events = [line[6:] for line in tail.split(b"\n") if line.startswith(b"data: {")]
    timings = next(found for line in reversed(events) if (found := json.loads(line).get("timings")))
    return Reply(200, (first - started) * 1e3, timings["completion_tokens"])


async def drive(url: str, clients: int, bodies: Iterator[dict[str, Any]]) -> Phase:
    """Let clients answer for a pool of requests.

    Raises:
        SystemExit: a request was refused or failed.
    """
    replies: list[list[Reply]] = [[] for _ in range(clients)]

    async def work(client: httpx.AsyncClient, mine: list[Reply]) -> None:
        for body in bodies:
            mine.append(await ask(client, body))
            if mine[-1].status != 200:
                raise SystemExit(f"error: the server answered {mine[-1].status}: {mine[-1].error}")

    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(client_of(url)) for _ in range(clients)]
        started = time.perf_counter()
        await asyncio.gather(*(work(client, mine) for client, mine in zip(opened, replies, strict=True)))
        return Phase(time.perf_counter() - started, replies)


async def crowd(url: str, bodies: Iterator[dict[str, Any]]) -> list[int]:
    """Send all requests at once; gives the statuses."""
    async with client_of(url) as client:
        return [reply.status for reply in await asyncio.gather(*(ask(client, body) for body in bodies))]


def compare(server: Server, load: Load, clients: int, requests: int, rounds: int) -> dict[str, Any]:
    """Drive the server with one client and with all, in turns; gives figures."""
    asyncio.run(drive(server.url, clients, load.bodies(clients, -1)))  # maps weights, writes the slots' first pages
    memory = [server.memory()["anonymous"]]
    ratios, phases = [], []
    for number in range(rounds):
        alone = asyncio.run(drive(server.url, 1, load.bodies(max(1, requests // clients), number)))
        together = asyncio.run(drive(server.url, clients, load.bodies(requests, number)))
        speeds = [sum(phase.tokens) / phase.seconds for phase in (alone, together)]
        ratios.append((speeds[1] / speeds[0], *speeds))
        phases.append(together)
        memory.append(server.memory()["anonymous"])
    first = [ms for phase in phases for ms in phase.first_token_ms]
    shares = [min(phase.tokens) / max(phase.tokens) for phase in phases]
    return {
        "alone_tokens_per_second": round(median(row[1] for row in ratios), 2),
        "tokens_per_second": round(median(row[2] for row in ratios), 2),
        "ratio": round(median(row[0] for row in ratios), 2),
        "first_token_ms": round(median(first), 1),
        "slowest_first_token_ms": round(max(first), 1),
        "slowest_ratio": round(max(first) / median(first), 2),
        "tokens_of_each": phases[-1].tokens,
        "least_share": round(min(shares), 2),
        "anonymous_bytes": [memory[0], memory[len(memory) // 2], memory[-1]],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description="Measure the server under load.")
    parser.add_argument("model_dir", type=Path, metavar="DIR")
    parser.add_argument("--slots", type=int, default=8, help="the server's (%(default)s)")
    parser.add_argument("--clients", type=int, default=8, help="(%(default)s)")
    parser.add_argument("--requests", type=int, default=32, help="of all clients, in a round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--prompt-tokens", type=int, default=16, help="(%(default)s)")
    parser.add_argument("--tokens", type=int, default=64, help="of an answer (%(default)s)")
    parser.add_argument("--queue", type=int, default=8, help="requests that may wait at the server (%(default)s)")
    parser.add_argument("--lookup", action="store_true", help="let the server guess")
    args = parser.parse_args(arguments)
    clients = max(1, args.clients)
    if clients > args.slots + args.queue:
        parser.error(f"{clients} clients, but room for {args.slots} + {args.queue}")
    machine = print_ceiling()
    description = json.loads((args.model_dir / "firebrick.json").read_bytes())
    eos, vocab_size = description["tokenizer"]["eos_token_ids"], description["vocab_size"]
    settings = {"SLOTS": args.slots, "QUEUE": args.queue, "LOOKUP": int(args.lookup), "VERIFY": "quick"}
    with Server(args.model_dir, **{f"FIREBRICK_{name}": str(value) for name, value in settings.items()}) as server:
        load = Load(server.ready["model"], args.prompt_tokens, args.tokens, vocab_size, eos)
        figures = compare(server, load, clients, max(clients, args.requests), max(1, args.rounds))
        sent = args.slots + args.queue + clients
        statuses = asyncio.run(crowd(server.url, load.bodies(sent, -2)))
    figures |= {"sent_at_once": sent, "refused": statuses.count(429), "failed": len(set(statuses) - {200, 429})}
    for name, value in figures.items():
        print(f"{name:<28}{', '.join(f'{v:,}' for v in value) if isinstance(value, list) else f'{value:,}':>20}")
    options = {"slots": args.slots, "clients": clients, "requests": args.requests, "lookup": args.lookup}
    print(json.dumps({"bench": "load", "artefact": str(args.model_dir), **options, **figures, "machine": machine}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
