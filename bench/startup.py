"""`python -m bench.startup DIR`: from exec to ready to the first token, and the parts of it."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from bench.machine import print_ceiling
from bench.server import Server, compile_handler
from handler.artefact import WEIGHTS, load_artefact
from handler.engine.prefixes import StoredPrefix, read_prefix

QUESTION = 20  # tokens


def measure(model_dir: Path) -> dict[str, float]:
    """Start a server once, with the weights' hash left out as in an image that was verified when it was built.

    Returns:
        milliseconds: `ready` from exec to the ready line, `first_token` of a first request after that,
        `exec_to_first_token` over all, and the server's own parts, which overlap.
    """
    started = time.perf_counter()
    with Server(model_dir, FIREBRICK_VERIFY="quick") as server:
        answer = server.complete([0, 1, 2, 3], 1)
        total = (time.perf_counter() - started) * 1e3
    parts = {name.removesuffix("_ms"): value for name, value in server.ready.items() if name.endswith("_ms")}
    parts["inside_ready"] = parts.pop("ready")
    whole = {"ready": server.ready_ms, "first_token": answer.first_token_ms, "exec_to_first_token": total}
    return {**whole, **parts}


def measure_prefix(model_dir: Path, cold: bool) -> dict[str, float]:
    """Start a server for a question behind the artefact's first prefix, and one for the question alone.

    Args:
        model_dir: the artefact.
        cold: whether each reads weights and prefix from the disk.

    Returns:
        milliseconds from exec to the first token, for both, and the parts of these behind the ready line.

    Raises:
        SystemExit: the artefact has no prefix, or the server doesn't use it.
    """
    prefix = list(first_prefix(model_dir).ids)
    question = list(range(2, 2 + QUESTION))
    result = {}
    for name, prompt, cached in ("prefix", prefix + question, len(prefix)), ("alone", question, 0):
        if cold:
            forget(model_dir)
        started = time.perf_counter()
        with Server(model_dir, FIREBRICK_VERIFY="quick") as server:
            answer = server.complete(prompt, 1)
            result[f"exec_to_first_token_{name}"] = (time.perf_counter() - started) * 1e3
        result[f"first_token_{name}"] = answer.first_token_ms
        if answer.timings["cached_tokens"] != cached:
            raise SystemExit(f"error: {answer.timings['cached_tokens']} tokens were cached, not {cached}")
    return result


def first_prefix(model_dir: Path) -> StoredPrefix:
    """The first prefix of an artefact.

    Raises:
        SystemExit: it has none.
    """
    artefact = load_artefact(model_dir, "quick")
    if not artefact.prefixes:
        raise SystemExit(f"error: {model_dir} has no prefix; export it with --prefix")
    return read_prefix(model_dir / artefact.prefixes[0], artefact)


def forget(model_dir: Path) -> None:
    """Take weights and prefixes out of the page cache, so that the next start reads them from the disk."""
    for path in (model_dir / WEIGHTS, *model_dir.glob("prefix-*.kv")):
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def measure_worker(model_dir: Path) -> dict[str, float]:
    """Start the worker function once, as far as its init phase goes.

    Returns:
        milliseconds: `ready` from exec to the ready line, and the function's own parts, which overlap.

    Raises:
        SystemExit: it doesn't start; its own message is on stderr.
    """
    environ = {**os.environ, "FIREBRICK_MODEL_DIR": str(model_dir), "FIREBRICK_VERIFY": "quick"}
    compile_handler()
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", "import handler.worker.function"], env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        ready_ms = (time.perf_counter() - started) * 1e3
    if not line:
        raise SystemExit(process.returncode)
    parts = {name.removesuffix("_ms"): value for name, value in json.loads(line).items() if name.endswith("_ms")}
    parts["inside_ready"] = parts.pop("ready")
    return {"ready": ready_ms, **parts}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.startup", description="Time the server's start.")
    parser.add_argument("model_dir", type=Path, metavar="DIR")
    parser.add_argument(
        "--runs", type=int, default=7, help="counted, after one that fills the page cache (%(default)s)"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--worker", action="store_true", help="the worker function, not the server")
    what.add_argument(
        "--prefix", action="store_true", help=f"{QUESTION} tokens behind the artefact's prefix, and without it"
    )
    parser.add_argument("--cold", action="store_true", help="with the weights on the disk only")
    args = parser.parse_args(arguments)
    machine = print_ceiling()
    name = "startup"
    measured: Callable[[Path], dict[str, float]] = measure
    if args.worker:
        name, measured = "startup-worker", measure_worker
    facts: dict[str, Any] = {}
    if args.prefix:
        name, measured = "startup-prefix", partial(measure_prefix, cold=args.cold)
        prefix = first_prefix(args.model_dir)
        facts = {"tokens": len(prefix.ids), "bytes": sum(array.nbytes for array in prefix.arrays.values())}
    measured(args.model_dir)
    runs = []
    for _ in range(max(1, args.runs)):
        if args.cold:
            forget(args.model_dir)
        runs.append(measured(args.model_dir))
    state = "weights on the disk" if args.cold else "page cache warm"
    print(f"{'milliseconds':<28}{'min':>9}{'median':>9}{'max':>9}   of {len(runs)} runs, {state}")
    medians: dict[str, Any] = {}
    for part in (part for part in runs[0] if all(part in run for run in runs)):  # populating may take longer
        values = [run[part] for run in runs]
        medians[part] = round(median(values), 1)
        print(f"{part:<28}{min(values):>9.1f}{median(values):>9.1f}{max(values):>9.1f}")
    if args.prefix:
        # Of neighbours in time: a machine that others use drifts.
        ratios = [run["exec_to_first_token_prefix"] / run["exec_to_first_token_alone"] for run in runs]
        facts["ratio"] = round(median(ratios), 3)
    print(
        json.dumps(
            {
                "bench": name,
                "artefact": str(args.model_dir),
                "cold": args.cold,
                "ms": medians,
                **facts,
                "machine": machine,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
