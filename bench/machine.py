"""What this machine can do at most: printed before anything is measured."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from typing import Any

from handler.engine.threads import resolve_threads
from handler.start.machine import cpu_fields, read_bandwidth

ISA_FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_bf16", "amx_int8")


def describe() -> dict[str, Any]:
    """Name the processor, what it can do, and the versions that matter."""
    import onnxruntime

    cpu = cpu_fields()
    return {
        "cpu": cpu.get("model name", platform.machine()),
        "isa": [flag for flag in ISA_FLAGS if flag in cpu.get("flags", "").split()],
        "threads": resolve_threads(os.environ),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
    }


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
