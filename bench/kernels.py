"""`python -m bench.kernels`: each native operator by instruction set and number of rows.

Weights of about 128 MB, more than any cache holds, are mapped from a file as in an artefact. Instruction sets and a
plain read of the same file take turns, so that their ratios are those of the same seconds. The table gives medians:
time, how fast weights are used and which part of the plain read's rate that is, multiplications, and the error relative
to the float product of the dequantized weights.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from bench.machine import print_ceiling
from bench.worker import Worker
from handler.engine.kernels import describe, given_library, library_path
from handler.engine.threads import resolve_threads
from model_export.quantize import dequantize, scale_units, snap
from model_export.storage import storage_of

ROWS = (1, 2, 4, 8, 16, 32, 128)
SHAPES = {  # N, K, bits of values, bits of scales: half of a 3B's gate and up
    "linear 4, 16": (8192, 3072, 4, 16),
    "linear 4, 8": (8192, 3072, 4, 8),
    "linear 8, 16": (8192, 3072, 8, 16),
}
CHECKED_ROWS = 8
MODEL, WEIGHTS, OUTPUT = "model.onnx", "weights.bin", "output.npy"


def write_model(directory: Path, n: int, k: int, bits: int, scale_bits: int, least_bytes: int) -> NDArray[np.float32]:
    """Write a model of several linear layers side by side on one input; gives the first one's float weights (N, K)."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (n, k // 32, 32 * bits // 8), dtype=np.uint8)
    scales = (rng.random((n, k // 32)) * 0.02 + 0.001).astype(np.float16)
    if scale_bits == 8:
        scales = snap(scales, scale_units(scales.max(axis=1))[:, None])
    (packed,) = storage_of("native", scale_bits).encode(values, scales, bits)
    layers = -(-least_bytes // packed.nbytes)
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["rows", k]))
    nodes, weights, outputs = [], [], []
    with (directory / WEIGHTS).open("wb") as file:
        for layer in range(layers):
            tensor = ir.ExternalTensor(
                WEIGHTS, file.tell(), packed.nbytes, ir.DataType.UINT8, shape=ir.Shape(packed.shape), name=f"w{layer}"
            )
            file.write(packed.data)
            value = ir.Value(
                name=f"w{layer}", shape=ir.Shape(packed.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
            )
            attributes = {"n": n, "k": k, "bits": bits, "scale_bits": scale_bits, "gated": 0}
            node = ir.node("Linear", [x, value], attributes, domain="firebrick", name=f"linear{layer}")
            node.outputs[0].name, node.outputs[0].type = f"y{layer}", ir.TensorType(ir.DataType.FLOAT)
            node.outputs[0].shape = ir.Shape(["rows", n])
            nodes.append(node)
            weights.append(value)
            outputs.append(node.outputs[0])
    graph = ir.Graph(
        [x], outputs, nodes=nodes, initializers=weights, opset_imports={"": 21, "firebrick": 1}, name="kernels"
    )
    (directory / MODEL).write_bytes(ir.serde.serialize_model(ir.Model(graph, ir_version=10)).SerializeToString())
    return dequantize(values, scales, bits, k)


def inputs(rows: int, k: int) -> NDArray[np.float32]:
    """Activations as after a norm: float32 `(rows, k)`."""
    return np.random.default_rng(rows).standard_normal((rows, k)).astype(np.float32)


def work(directory: Path, k: int) -> None:
    """Answer each line of standard input, a number of rows, with the milliseconds of a run; "save" writes an output."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = resolve_threads(os.environ)
    # Threads that go on spinning after a run would slow down whoever is next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.register_custom_ops_library(str(library_path(given_library(os.environ))))
    session = onnxruntime.InferenceSession(str(directory / MODEL), options, providers=["CPUExecutionProvider"])
    for line in sys.stdin:
        if line.strip() == "save":
            np.save(directory / OUTPUT, session.run(["y0"], {"x": inputs(CHECKED_ROWS, k)})[0])
            print("saved", flush=True)
            continue
        x = inputs(int(line), k)
        started = time.perf_counter()
        session.run(None, {"x": x})
        print((time.perf_counter() - started) * 1e3, flush=True)


def read_ms(data: NDArray[np.int64], pool: ThreadPoolExecutor, threads: int) -> float:
    """Milliseconds in which all threads together read the mapping once."""
    started = time.perf_counter()
    list(pool.map(np.sum, np.array_split(data, threads * 4)))
    return (time.perf_counter() - started) * 1e3


def measure(name: str, isas: Sequence[str], args: argparse.Namespace, threads: int) -> list[dict[str, Any]]:
    """Measure a shape; gives a row for each instruction set and number of rows."""
    n, k, bits, scale_bits = SHAPES[name]
    found = []
    with tempfile.TemporaryDirectory() as work_directory, ThreadPoolExecutor(threads) as pool, ExitStack() as stack:
        directory = Path(work_directory)
        weights = write_model(directory, n, k, bits, scale_bits, args.megabytes * 1024 * 1024)
        data = np.memmap(directory / WEIGHTS, dtype=np.int64, mode="r")
        workers = {
            isa: stack.enter_context(Worker("bench.kernels", "--worker", str(directory), str(k), FIREBRICK_ISA=isa))
            for isa in isas
        }
        errors = relative_errors(directory, workers, inputs(CHECKED_ROWS, k) @ weights.T)
        for rows in args.rows:
            times: dict[str, list[float]] = {isa: [] for isa in isas}
            reads = []
            for _ in range(args.rounds):
                reads.append(read_ms(data, pool, threads))
                for isa, worker in workers.items():
                    times[isa].append(float(worker.ask(str(rows))))
            for isa in isas:
                ms = median(times[isa])
                weight_count = data.nbytes / (bits + scale_bits / 32) * 8
                found.append(
                    {
                        "operator": name,
                        "isa": isa,
                        "rows": rows,
                        "ms": round(ms, 2),
                        "gb_per_s": round(data.nbytes / ms / 1e6, 1),
                        "bandwidth_fraction": round(median(reads) / ms, 3),
                        "gmac_per_s": round(rows * weight_count / ms / 1e6, 1),
                        "relative_error": float(f"{errors[isa]:.2g}"),
                    }
                )
    return found


def relative_errors(directory: Path, workers: Mapping[str, Worker], right: NDArray[np.float32]) -> dict[str, float]:
    """Compare the first layer's output with the float product, as a ratio of norms."""
    errors = {}
    for isa, worker in workers.items():
        worker.ask("save")
        got = np.load(directory / OUTPUT)
        errors[isa] = float(np.linalg.norm(got - right) / np.linalg.norm(right))
    return errors


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and the JSON line."""
    parser = argparse.ArgumentParser(prog="python -m bench.kernels", description=__doc__)
    parser.add_argument("--isa", nargs="+", help="instruction sets (default: all that this machine has)")
    parser.add_argument("--rounds", type=int, default=7, help="runs of each (default 7)")
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS, help="rows of activations")
    parser.add_argument("--megabytes", type=int, default=128, help="of weights (default 128)")
    parser.add_argument("--worker", nargs=2, metavar=("DIRECTORY", "K"), help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.worker:
        work(Path(args.worker[0]), int(args.worker[1]))
        return 0
    machine = print_ceiling()
    isas = args.isa or [isa for isa in describe(library_path(given_library(os.environ))).available if isa != "portable"]
    found = []
    print(f"{'operator':<14}{'isa':<9}{'rows':>5}{'ms':>9}{'GB/s':>7}{'of read':>9}{'GMAC/s':>8}{'error':>9}")
    for name in SHAPES:
        for row in measure(name, isas, args, machine["threads"]):
            found.append(row)
            print(
                f"{row['operator']:<14}{row['isa']:<9}{row['rows']:>5}{row['ms']:>9.2f}{row['gb_per_s']:>7.1f}"
                f"{row['bandwidth_fraction']:>9.0%}{row['gmac_per_s']:>8.0f}{row['relative_error']:>9.2g}",
                flush=True,
            )
    print(json.dumps({"bench": "kernels", "figures": found, "machine": machine}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
