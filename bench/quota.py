"""`python -m bench.quota DIR`: how many threads pay, by the processors that a quota gives.

Lambda gives a function memory / 1,769 MB processors: a quota of time, on two to six virtual ones. Here a control group
of its own (version 1 or 2, as root) limits processes that differ in their number of threads only; they take turns.
Figures are tokens over time, so that pauses count: a process that has used up its quota stands still until the next
period.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from bench.machine import print_ceiling
from bench.worker import Worker
from handler.engine.threads import MEGABYTES_PER_VCPU

PERIOD_US = 100_000
MEMORY_MB = (512, 1024, 1769, 2048, 3008, 3538, 5307, 7076, 8845, 10240)
PROMPT, TOKENS = 64, 16
Row = dict[str, float]


class Quota:
    """A control group that limits processor time."""

    def __init__(self, root: Path = Path("/sys/fs/cgroup")) -> None:
        """Make one.

        Raises:
            OSError: this process may not.
        """
        self._unified = (root / "cgroup.controllers").exists()
        self._path = (root if self._unified else root / "cpu") / f"firebrick-{os.getpid()}"
        self._path.mkdir()

    def set(self, processors: float) -> None:
        """Give so many processors, in parts of 1/100."""
        quota = round(processors * PERIOD_US)
        if self._unified:
            (self._path / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        else:
            (self._path / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self._path / "cpu.cfs_quota_us").write_text(str(quota))

    def take(self, pid: int) -> None:
        """Put a process under the quota, with all its threads."""
        (self._path / "cgroup.procs").write_text(str(pid))

    def remove(self) -> None:
        """Remove the group; no process may be left in it."""
        self._path.rmdir()


def work(model_dir: Path, threads: int) -> None:
    """Answer each line of standard input with the tokens per second of a prompt and of decoding behind it."""
    from handler.artefact import load_artefact
    from handler.engine.cancellation import Cancellation
    from handler.engine.engine import Engine, EngineOptions
    from handler.engine.sampling import SamplingParams

    engine = Engine.load(load_artefact(model_dir, "quick"), threads, EngineOptions(keep_prefixes=False, lookup=False))
    prompt = [random.Random(n).randrange(engine.vocab_size) for n in range(PROMPT)]
    for _ in sys.stdin:
        started = time.perf_counter()
        tokens = engine.generate(prompt, SamplingParams(temperature=0), TOKENS + 1, (), Cancellation())
        next(tokens)
        first = time.perf_counter()
        list(tokens)
        print(PROMPT / (first - started), TOKENS / (time.perf_counter() - first), flush=True)


def measure(
    model_dir: Path, threads: Sequence[int], processors: Sequence[float], rounds: int
) -> list[dict[str, float]]:
    """Ask a process of each number of threads under each quota; gives a row for each pair, medians of the rounds."""
    rows = []
    quota = Quota()
    with ExitStack() as stack:
        stack.callback(quota.remove)
        arguments = ("bench.quota", str(model_dir), "--worker")
        workers = {n: stack.enter_context(Worker(*arguments, str(n))) for n in threads}
        for worker in workers.values():
            worker.ask("")
            quota.take(worker.pid)
        for given in processors:
            quota.set(given)
            answers: dict[int, list[list[float]]] = {n: [] for n in threads}
            for _ in range(rounds):
                for n, worker in workers.items():
                    answers[n].append([float(value) for value in worker.ask("").split()])
            for n, values in answers.items():
                prefill, decode = (median(column) for column in zip(*values, strict=True))
                rows.append({"processors": given, "threads": n, "prefill": prefill, "decode": decode})
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and the JSON line."""
    parser = argparse.ArgumentParser(prog="python -m bench.quota", description=__doc__)
    parser.add_argument("model_dir", type=Path, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement (%(default)s)")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.worker:
        work(args.model_dir, args.worker)
        return 0
    machine = print_ceiling()
    there = len(os.sched_getaffinity(0))
    processors = [mb / MEGABYTES_PER_VCPU for mb in MEMORY_MB if mb / MEGABYTES_PER_VCPU <= there]
    try:
        rows = measure(args.model_dir, range(1, there + 1), processors, max(1, args.rounds))
    except OSError as error:
        print(f"error: {error}; a quota needs root's rights and control groups that can be written", file=sys.stderr)
        return 2
    print("| memory, MB | processors | threads | prefill, tokens/s | decode, tokens/s |\n|---|---|---|---|---|")
    for row in rows:
        memory = round(row["processors"] * MEGABYTES_PER_VCPU)
        print(
            f"| {memory:,} | {row['processors']:.2f} | {row['threads']} | {row['prefill']:.1f} | {row['decode']:.2f} |"
        )
    print(json.dumps({"bench": "quota", "artefact": str(args.model_dir), "rows": rows, "machine": machine}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
