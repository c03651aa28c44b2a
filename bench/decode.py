"""`python -m bench.decode DIR…`: prefill and decode of artefacts at several lengths, memory, time to readiness.

The engines take turns, a process each, and the medians of the rounds are printed; with two artefacts, such as both
kinds of kernels, ratios are those of one run. Decoding at a depth finds the cache filled with random numbers: it reads
the same memory as after a prefill of that length.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.machine import print_ceiling
from bench.server import Server
from bench.worker import Worker

PREFILL = (128, 512, 2048)
DEPTHS = (0, 512, 2048, 4096)
GREEDY = (0.0, 0.0, 1.0, 0.0)  # how the next token is chosen; see handler.engine.sampling.Choice


def work(model_dir: Path) -> None:
    """Answer each line of standard input: `prefill N` and `decode DEPTH TOKENS` with tokens per second, `read`
    with the GB per second at which all threads read the mapped weights."""
    from handler.artefact import WEIGHTS, load_artefact
    from handler.engine.engine import Engine, EngineOptions
    from handler.engine.kernels import given_library
    from handler.engine.threads import resolve_threads

    artefact = load_artefact(model_dir, "quick")
    threads = resolve_threads(os.environ)
    engine = Engine.load(artefact, threads, EngineOptions(keep_prefixes=False), given_library(os.environ))
    weights = np.memmap(model_dir / WEIGHTS, dtype=np.uint8, mode="r")
    for line in sys.stdin:
        kind, length, tokens = [*line.split(), "0", "0"][:3]
        if kind == "read":
            print(read_weights(weights, threads), flush=True)
        elif artefact.context_length < int(length) + 64:
            print("nan", flush=True)
        elif kind == "prefill":
            print(prefill(engine, int(length)), flush=True)
        else:
            print(decode(engine, int(length), int(tokens)), flush=True)


def read_weights(weights: NDArray[np.uint8], threads: int) -> float:
    """GB per second of a plain read of the mapping, a second one: the first enters its pages into the page tables."""
    words = weights[: len(weights) // 8 * 8].view(np.int64)
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(2):
            started = time.perf_counter()
            list(pool.map(np.sum, np.array_split(words, threads * 8)))
            took = time.perf_counter() - started
    return words.nbytes / took / 1e9


def prefill(engine: Any, length: int) -> float:
    """Tokens per second of a prompt, run a second time: the others' turns have emptied the caches, and llama-bench
    doesn't count its first run either."""
    from handler.engine.cancellation import Cancellation
    from handler.engine.sampling import SamplingParams

    prompt = [random.Random(length).randrange(engine.vocab_size) for _ in range(length)]
    for _ in range(2):
        started = time.perf_counter()
        next(engine.generate(prompt, SamplingParams(temperature=0), 1, (), Cancellation()))
        took = time.perf_counter() - started
    return length / took


def decode(engine: Any, depth: int, tokens: int) -> float:
    """Tokens per second behind `depth` cached ones, by the median step."""
    fill_cache(engine.slots.cache, depth)
    times = []
    for position in range(depth, depth + tokens):
        ids = np.array([[position % engine.vocab_size]])
        started = time.perf_counter()
        engine.steps.run([0], ids, [position], [0], choices=[GREEDY])
        times.append(time.perf_counter() - started)
    return 1 / median(times)


def fill_cache(cache: Mapping[str, NDArray[Any]], depth: int) -> None:
    """Put random numbers at the first `depth` positions of every layer's keys, values and scales."""
    rng = np.random.default_rng(0)
    for array in cache.values():
        place = array[:, :, :depth]
        if array.dtype == np.int8:
            place[:] = rng.integers(-127, 128, place.shape, dtype=np.int8)
        else:
            place[:] = rng.random(place.shape, dtype=np.float32) * 0.02


def measure(workers: dict[str, Worker], rounds: int, tokens: int) -> dict[str, dict[str, float | None]]:
    """Ask all workers in turns; gives the medians by worker and by what was measured."""
    questions = {f"prefill_{n}": f"prefill {n}" for n in PREFILL}
    questions |= {f"decode_{depth}": f"decode {depth} {tokens}" for depth in DEPTHS}
    figures: dict[str, dict[str, float | None]] = {name: {} for name in workers}
    for question, line in questions.items():
        answers: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(rounds):
            for name, worker in workers.items():
                answers[name].append(float(worker.ask(line)))
        for name, values in answers.items():
            middle = median(values)
            figures[name][question] = round(middle, 2) if middle == middle else None  # longer than the context
    return figures


def serving(model_dir: Path) -> dict[str, float]:
    """Start the server, warm files assumed, ask once; gives time to readiness (ms) and peak memory (MB)."""
    with Server(model_dir, FIREBRICK_VERIFY="quick") as server:
        server.complete([1] * 128, 8)
        memory = server.memory()
        return {
            "ready_ms": round(server.ready_ms, 1),
            "peak_mb": round(memory["peak"] / 1e6, 1),
            "anonymous_mb": round(memory["anonymous"] / 1e6, 1),
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and the JSON line."""
    parser = argparse.ArgumentParser(prog="python -m bench.decode", description=__doc__)
    parser.add_argument("artefacts", type=Path, nargs="+", metavar="DIR")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement (default 3)")
    parser.add_argument("--tokens", type=int, default=24, help="decoded a round (default 24)")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.worker:
        work(args.artefacts[0])
        return 0
    machine = print_ceiling()
    with ExitStack() as stack:
        workers = {
            str(path): stack.enter_context(Worker("bench.decode", "--worker", str(path))) for path in args.artefacts
        }
        figures = measure(workers, args.rounds, args.tokens)
    for path in args.artefacts:
        served = sorted((serving(path) for _ in range(args.rounds)), key=lambda s: s["ready_ms"])
        figures[str(path)] |= served[len(served) // 2]
    names = list(next(iter(figures.values())))
    for name in names:
        values = "".join(f"{row[name] if row[name] is not None else '-':>12}" for row in figures.values())
        print(f"{name:<16}{values}")
    print(json.dumps({"bench": "decode", "figures": figures, "machine": machine}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
