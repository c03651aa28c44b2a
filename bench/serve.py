"""`python -m bench.serve DIR`: a long prompt and a few tokens through the real server; its speed and its memory.

Then a chat's second turn, of which the server has the beginning in its cache: its time to the first token, against a
bare run of the same graph over as many new tokens behind as many cached ones. What the ratio leaves above 1 is all
else: HTTP, finding the beginning, sampling. Guesses are off: answers to random prompts repeat themselves.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from bench.decode import fill_cache
from bench.engine import Loaded
from bench.machine import print_ceiling
from bench.server import Server
from handler.engine.engine import EngineOptions


@dataclass(frozen=True)
class SecondTurn:
    """What a prompt took whose beginning was cached.

    Attributes:
        cached_tokens: as the server says.
        first_token_ms: through the server.
        bare_ms: of the graph alone, run over the new tokens behind the cached ones.
        ratio: of the two.
    """

    cached_tokens: int
    first_token_ms: float
    bare_ms: float
    ratio: float


def second_turn(server: Server, loaded: Loaded, cached: int, new: int, runs: int) -> SecondTurn:
    """Ask for prompts that begin alike, in turns with bare runs; gives medians."""
    rng = random.Random(1)
    vocab_size = loaded.artefact.vocab_size
    beginning = [rng.randrange(vocab_size) for _ in range(cached)]
    engine, steps = loaded.engine(EngineOptions())
    fill_cache(engine.slots.cache, cached)
    server.complete(beginning, 1)
    answers, bare = [], []
    for _ in range(1 + runs):
        ids = [rng.randrange(vocab_size) for _ in range(new)]
        answers.append(server.complete(beginning + ids, 1))
        started = perf_counter()
        steps.run([0], np.array([ids]), [cached], [new - 1])
        bare.append((perf_counter() - started) * 1e3)
    through = [answer.first_token_ms for answer in answers]
    return SecondTurn(
        int(answers[-1].timings["cached_tokens"]),
        round(median(through[1:]), 2),
        round(median(bare[1:]), 2),
        round(median(ours / alone for ours, alone in zip(through[1:], bare[1:], strict=True)), 3),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description="Measure the server under one request.")
    parser.add_argument("model_dir", type=Path, metavar="DIR")
    parser.add_argument("--prompt-tokens", type=int, default=512, help="(%(default)s)")
    parser.add_argument("--tokens", type=int, default=16, help="to stream (%(default)s)")
    parser.add_argument("--cached-tokens", type=int, default=1000, help="of the second turn (%(default)s)")
    parser.add_argument("--new-tokens", type=int, default=20, help="of the second turn (%(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="the median is printed (%(default)s)")
    args = parser.parse_args(arguments)
    machine = print_ceiling()
    description = json.loads((args.model_dir / "firebrick.json").read_bytes())
    prompt = min(args.prompt_tokens, description["context_length"] - args.tokens)
    rng = random.Random(0)
    prompts = [[rng.randrange(description["vocab_size"]) for _ in range(prompt)] for _ in range(max(1, args.runs))]
    with Server(args.model_dir, FIREBRICK_LOOKUP="0") as server:
        answers = [server.complete(ids, args.tokens) for ids in prompts]
        memory = server.memory()
        new = max(1, args.new_tokens)
        cached = min(args.cached_tokens, description["context_length"] - new - 1)
        turn = second_turn(server, Loaded(args.model_dir), cached, new, max(1, args.runs))
    size = sum(path.stat().st_size for path in args.model_dir.iterdir())
    figures = {
        "prompt_tokens": prompt,
        "ready_ms": round(server.ready_ms, 1),
        "first_token_ms": round(median(a.first_token_ms for a in answers), 1),
        "prefill_tokens_per_second": round(
            median(1e3 * prompt / max(a.timings["prefill_ms"], 1e-3) for a in answers), 1
        ),
        "decode_tokens_per_second": round(median(a.timings.get("decode_tokens_per_second") or 0 for a in answers), 2),
        "artefact_bytes": size,
        "peak_memory_bytes": memory["peak"],
        "anonymous_memory_bytes": memory["anonymous"],
        "peak_memory_ratio": round(memory["peak"] / size, 2),
        "second_turn_cached_tokens": turn.cached_tokens,
        "second_turn_first_token_ms": turn.first_token_ms,
        "second_turn_bare_ms": turn.bare_ms,
        "second_turn_ratio": turn.ratio,
    }
    for name, value in figures.items():
        print(f"{name:<28}{value:>16,}")
    print(json.dumps({"bench": "serve", "artefact": str(args.model_dir), **figures, "machine": machine}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
