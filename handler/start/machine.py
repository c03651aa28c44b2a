"""This machine: its processor, and how fast it reads memory."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np


def cpu_fields(root: Path = Path("/")) -> dict[str, str]:
    """What /proc/cpuinfo says of the last processor: "model name", "flags" and more; empty if there is none."""
    path = root / "proc/cpuinfo"
    lines = path.read_text().splitlines() if path.exists() else []
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return {key.strip(): value.strip() for key, value in fields.items()}


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
