"""`python -m bench.batch DIR`: tokens per second of several sequences that one engine decodes together.

The numbers of sequences take turns, all of them in a round, so that drift hits all alike; ratios are the median of the
rounds' own. Without guesses: a step is a token of each. Behind a depth the cache holds random numbers, which it reads
as after a prefill of that length.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from bench.decode import fill_cache
from bench.engine import Loaded
from bench.machine import print_ceiling
from handler.engine.cancellation import Cancellation
from handler.engine.engine import EngineOptions
from handler.engine.sampling import SamplingParams
from handler.engine.sequence import Token
from handler.turns import Turns

DEPTHS = (0, 2048)


@dataclass(frozen=True)
class Round:
    """What steps of one number of sequences took, by the median step.

    Attributes:
        step_ms: from step to step.
        outside_ms: of that, what wasn't onnxruntime's: sampling, the turns of the generators, Python.
    """

    step_ms: float
    outside_ms: float


class Batches:
    """An engine with a slot for each sequence."""

    def __init__(self, loaded: Loaded, most: int, prompt_tokens: int) -> None:
        """Make the engine and random prompts for `most` sequences."""
        self._loaded = loaded
        self._engine, self._steps = loaded.engine(EngineOptions(slots=most, lookup=False))
        rng = random.Random(0)
        self._prompts = [[rng.randrange(loaded.artefact.vocab_size) for _ in range(prompt_tokens)] for _ in range(most)]

    def measure(self, sequences: int, depth: int, tokens: int) -> Round:
        """Decode `tokens` tokens of each of so many sequences, behind `depth` tokens and a prompt."""
        turns: Turns[int, Token] = Turns(self._engine.step)
        first: set[int] = set()
        room = self._engine.context_length - depth
        for key, tail in enumerate(self._prompts):
            before = [key % self._engine.vocab_size] * depth
            self._engine.slots.hold(key, before)
            greedy, most = SamplingParams(temperature=0), room - len(tail)
            if key < sequences:
                turns.add(key, partial(self._engine.answer, before + tail, greedy, most, (), Cancellation()))
        with closing(turns):
            while len(first) < sequences:
                turns.round(lambda key, _: first.add(key))
            times, inside = [], []
            for _ in range(tokens):
                started, before_s, count = time.perf_counter(), self._loaded.session.seconds, self._steps.tokens
                turns.round(lambda key, token: None)
                times.append(time.perf_counter() - started)
                inside.append(self._loaded.session.seconds - before_s)
                assert self._steps.tokens - count == sequences
        outside = median(took - of_it for took, of_it in zip(times, inside, strict=True))
        return Round(median(times) * 1e3, outside * 1e3)

    def fill(self, depth: int) -> None:
        """Fill the cache up to a depth."""
        fill_cache(self._engine.slots.cache, depth)


def compare(batches: Batches, counts: Sequence[int], depth: int, tokens: int, rounds: int) -> list[dict[str, float]]:
    """Measure all counts in turns; gives a row of figures for each."""
    batches.fill(depth)
    for count in counts:
        batches.measure(count, depth, 2)
    found = [{count: batches.measure(count, depth, tokens) for count in counts} for _ in range(rounds)]
    alone = counts[0]
    rows = []
    for count in counts:
        step_ms = median(row[count].step_ms for row in found)
        ratio = median(row[alone].step_ms / row[count].step_ms for row in found) * count / alone
        rows.append(
            {
                "depth": depth,
                "sequences": count,
                "tokens_per_second": round(1e3 * count / step_ms, 2),
                "ratio": round(ratio, 2),
                "step_ms": round(step_ms, 2),
                "outside_ms": round(median(row[count].outside_ms for row in found), 3),
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.batch", description="Decode several sequences together.")
    parser.add_argument("model_dir", type=Path, metavar="DIR")
    parser.add_argument(
        "--sequences", type=int, nargs="+", default=[1, 2, 4, 8], help="ratios are to the first (1 2 4 8)"
    )
    parser.add_argument("--tokens", type=int, default=32, help="of each, in a round (%(default)s)")
    parser.add_argument("--prompt-tokens", type=int, default=64, help="(%(default)s)")
    parser.add_argument("--depth", type=int, nargs="+", default=DEPTHS, help="cached before the prompt (0 2048)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    args = parser.parse_args(arguments)
    counts, rounds = [max(1, count) for count in args.sequences], max(1, args.rounds)
    machine = print_ceiling()
    loaded = Loaded(args.model_dir)
    batches = Batches(loaded, max(counts), args.prompt_tokens)
    # While later prompts are read, earlier ones may decode: room for those tokens too.
    longest = loaded.artefact.context_length - args.prompt_tokens - 4 * args.tokens
    figures = []
    print(f"{'depth':>6}{'sequences':>11}{'tokens/s':>10}{'ratio':>8}{'step ms':>10}{'outside ms':>12}")
    for depth in sorted({min(depth, longest) for depth in args.depth}):
        for row in compare(batches, counts, depth, args.tokens, rounds):
            figures.append(row)
            print(
                f"{row['depth']:>6}{row['sequences']:>11}{row['tokens_per_second']:>10,.1f}{row['ratio']:>8.2f}"
                f"{row['step_ms']:>10.2f}{row['outside_ms']:>12.3f}",
                flush=True,
            )
    print(json.dumps({"bench": "batch", "artefact": str(args.model_dir), "figures": figures, "machine": machine}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
