"""`python -m bench.export --shape llama-3.2-3b`: time and peak memory of an export of a random checkpoint."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.checkpoint import SHAPES
from bench.machine import print_ceiling


def timed_export(checkpoint: Path, out: Path, options: Sequence[str]) -> tuple[float, float, int]:
    """Run an export as a process of its own.

    Returns:
        wall time and processor time in seconds, peak resident memory in bytes; the last two by the kernel's accounting
        of the ended process.

    Raises:
        SystemExit: the export failed; its own message is on stderr.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "model_export", str(checkpoint), "--out", str(out), *options], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def run(shape: str, work: Path, options: Sequence[str]) -> dict[str, Any]:
    """Write the checkpoint if it isn't there, export it, and give the figures."""
    checkpoint, out = work / f"checkpoint-{shape}", work / f"artefact-{shape}"
    if not (checkpoint / "model.safetensors").exists():
        print(f"writing a random {shape} checkpoint to {checkpoint}", flush=True)
        shutil.rmtree(checkpoint, ignore_errors=True)
        # In a process of its own: the export inherits this one's peak of memory as its own least.
        command = [sys.executable, "-m", "bench.checkpoint", "--shape", shape, "--out", str(checkpoint)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds, processor_seconds, peak = timed_export(checkpoint, out, options)
    return {
        "shape": shape,
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor_seconds, 1),
        "peak_memory_bytes": peak,
        "checkpoint_bytes": sum(path.stat().st_size for path in checkpoint.iterdir()),
        "artefact_bytes": sum(path.stat().st_size for path in out.iterdir()),
        "graph_bytes": (out / "model.onnx").stat().st_size,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.export", description="Time an export; options it doesn't know go to the exporter."
    )
    parser.add_argument("--shape", choices=sorted(SHAPES), default="llama-3.2-3b")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep checkpoint and artefact here (default: nowhere)")
    args, options = parser.parse_known_args(arguments)
    machine = print_ceiling()
    if args.work is not None:
        args.work.mkdir(parents=True, exist_ok=True)
        figures = run(args.shape, args.work, options)
    else:
        with tempfile.TemporaryDirectory(prefix="firebrick-") as work:
            figures = run(args.shape, Path(work), options)
    for name, value in figures.items():
        print(f"{name:<22}{value if isinstance(value, str) else format(value, ','):>20}")
    print(json.dumps({"bench": "export", **figures, "machine": machine}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
