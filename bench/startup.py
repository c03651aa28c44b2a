"""``python -m bench.startup DIR``: from exec to ready to the first token, and the parts of it."""

from __future__ import annotations

import argparse
import compileall
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.machine import print_ceiling
from bench.server import Server

HANDLER = Path(__file__).parent.parent / "handler"


def measure(model_dir: Path) -> dict[str, float]:
    """Start a server once, with the weights' hash left out as in an image that was verified when it was built.

    Returns:
        milliseconds: ``ready`` from exec to the ready line, ``first_token`` of a first request after that,
        ``exec_to_first_token`` over all, and the server's own parts, which overlap.
    """
    started = time.perf_counter()
    with Server(model_dir, FIREBRICK_VERIFY="quick") as server:
        answer = server.complete([0, 1, 2, 3], 1)
        total = (time.perf_counter() - started) * 1e3
    parts = {name.removesuffix("_ms"): value for name, value in server.ready.items() if name.endswith("_ms")}
    parts["inside_ready"] = parts.pop("ready")
    whole = {"ready": server.ready_ms, "first_token": answer.first_token_ms, "exec_to_first_token": total}
    return {**whole, **parts}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.startup", description="Time the server's start.")
    parser.add_argument("model_dir", type=Path, metavar="DIR")
    parser.add_argument(
        "--runs", type=int, default=7, help="counted, after one that fills the page cache (%(default)s)"
    )
    args = parser.parse_args(arguments)
    machine = print_ceiling()
    compileall.compile_dir(HANDLER, quiet=1)  # as in the image; some environments forbid Python to do it
    measure(args.model_dir)
    runs = [measure(args.model_dir) for _ in range(max(1, args.runs))]
    print(f"{'milliseconds':<22}{'min':>9}{'median':>9}{'max':>9}   of {len(runs)} runs, page cache warm")
    medians: dict[str, Any] = {}
    for name in runs[0]:
        values = [run[name] for run in runs]
        medians[name] = round(median(values), 1)
        print(f"{name:<22}{min(values):>9.1f}{median(values):>9.1f}{max(values):>9.1f}")
    print(json.dumps({"bench": "startup", "artefact": str(args.model_dir), "ms": medians, "machine": machine}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
