"""What this machine can do at most: printed before anything is measured."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from handler.threads import resolve_threads

ISA_FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_bf16", "amx_int8")


def describe() -> dict[str, Any]:
    """Name the processor, what it can do, and the versions that matter."""
    import onnxruntime

    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    return {
        "cpu": named.get("model name", platform.machine()),
        "isa": [flag for flag in ISA_FLAGS if flag in named.get("flags", "").split()],
        "threads": resolve_threads(os.environ),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
    }


def read_bandwidth(threads: int, rounds: int = 5) -> float:
    """Measure how fast all threads together read memory that is in no cache, in bytes per second (median)."""
    chunk = np.ones(64 * 1024 * 1024 // 8, dtype=np.int64)  # 64 MiB a thread
    chunks = [chunk.copy() for _ in range(threads)]
    rates = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(rounds):
            started = time.perf_counter()
            list(pool.map(np.sum, chunks))
            rates.append(sum(c.nbytes for c in chunks) / (time.perf_counter() - started))
    return median(rates)


def print_ceiling() -> dict[str, Any]:
    """Print the machine and its read bandwidth; gives both for the JSON line.

    It is measured in a process of its own: a bench's children inherit the peak of its memory as their own least.
    """
    machine: dict[str, Any] = json.loads(subprocess.check_output([sys.executable, "-m", "bench.machine"]))
    print(
        f"{machine['cpu']}, {machine['threads']} threads, {' '.join(machine['isa']) or 'no AVX2'}, "
        f"reads {machine['read_gb_per_s']} GB/s; python {machine['python']}, onnxruntime {machine['onnxruntime']}",
        flush=True,
    )
    return machine


def main() -> int:
    """Print the machine as one JSON line."""
    machine = describe()
    machine["read_gb_per_s"] = round(read_bandwidth(machine["threads"]) / 1e9, 1)
    print(json.dumps(machine))
    return 0


if __name__ == "__main__":
    sys.exit(main())
