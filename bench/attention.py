"""`python -m bench.attention`: the attention operators, by context and number of new tokens.

Several layers' caches take turns, more than any cache of the processor holds, as in decoding. A plain read of memory is
timed in turn with them, so that fractions are those of the same seconds. The instruction set is the one that
FIREBRICK_ISA names, else the best. The best of all times stands for a machine that nobody else uses.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from bench.machine import print_ceiling
from handler.engine.kernels import describe, given_library, library_path, register
from handler.engine.threads import resolve_threads
from handler.start.machine import read_bandwidth

HEADS, KV_HEADS, HEAD_DIM = 24, 8, 128  # of a 3B
CASES = ((1, 128), (1, 1024), (1, 4096), (4, 4096), (128, 128), (512, 512), (512, 4096))  # new tokens, length
LAYERS_OF_ONE_TOKEN = 20
KINDS = ("AttentionF16", "AttentionInt8")


def cache_arrays(kind: str, room: int, seed: int) -> dict[str, NDArray[Any]]:
    """A cache that holds something, by the names of the operator's inputs without `past_`."""
    rng, shape = np.random.default_rng(seed), (1, KV_HEADS, room, HEAD_DIM)
    if kind == "AttentionF16":
        key, value = (rng.standard_normal(shape, dtype=np.float32).astype(np.float16) for _ in range(2))
        return {"key": key, "value": value}
    integers = [rng.integers(-127, 128, shape, dtype=np.int8) for _ in range(2)]
    scales = [np.full(shape[:3], 0.01, dtype=np.float32) for _ in range(2)]
    return {"key": integers[0], "value": integers[1], "key_scale": scales[0], "value_scale": scales[1]}


def attention_model(kind: str) -> bytes:
    """A model of one node; everything is an input."""

    def value(name: str, dtype: type, dimensions: int) -> ir.Value:
        shape = ir.Shape([f"{name}_{i}" for i in range(dimensions)])
        return ir.Value(name=name, type=ir.TensorType(ir.DataType.from_numpy(np.dtype(dtype))), shape=shape)

    stored = {name: (array.dtype.type, array.ndim) for name, array in cache_arrays(kind, 1, 0).items()}
    inputs = [
        value("qkv", np.float32, 3),
        *(value(f"past_{name}", *of) for name, of in stored.items()),
        value("seqlens_k", np.int32, 1),
        value("cos", np.float32, 2),
        value("sin", np.float32, 2),
    ]
    outputs = [value("out", np.float32, 3), *(value(f"present_{name}", *of) for name, of in stored.items())]
    attributes = {"num_heads": HEADS, "kv_num_heads": KV_HEADS, "scale": HEAD_DIM**-0.5, "epsilon": 1e-5}
    made = [
        ir.Attr(n, ir.AttributeType.INT if isinstance(v, int) else ir.AttributeType.FLOAT, v)
        for n, v in attributes.items()
    ]
    node = ir.Node("firebrick", kind, inputs, made, outputs=outputs, name="attention")
    graph = ir.Graph(inputs, outputs, nodes=[node], opset_imports={"": 21, "firebrick": 1}, name="attention")
    serialized: bytes = ir.serde.serialize_model(ir.Model(graph, ir_version=10)).SerializeToString()
    return serialized


class Layers:
    """A session, and caches that take turns in it."""

    def __init__(self, kind: str, room: int, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        register(options, library_path(given_library(os.environ)))
        self.session = onnxruntime.InferenceSession(attention_model(kind), options, providers=["CPUExecutionProvider"])
        self.caches = [cache_arrays(kind, room, seed) for seed in range(LAYERS_OF_ONE_TOKEN)]
        angles = np.outer(np.arange(room), 10_000 ** (-np.arange(HEAD_DIM // 2) / (HEAD_DIM // 2)))
        self.tables = {"cos": np.cos(angles).astype(np.float32), "sin": np.sin(angles).astype(np.float32)}

    def seconds(self, tokens: int, length: int, layers: int) -> list[float]:
        """Time one run of each layer."""
        qkv = np.random.default_rng(0).standard_normal((1, tokens, (HEADS + 2 * KV_HEADS) * HEAD_DIM), dtype=np.float32)
        given = {"qkv": qkv, "seqlens_k": np.array([length - 1], dtype=np.int32), **self.tables}
        out = onnxruntime.OrtValue.ortvalue_from_numpy(np.empty((1, tokens, HEADS * HEAD_DIM), dtype=np.float32))
        values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in given.items()}
        found = []
        for cache in self.caches[:layers]:
            binding = self.session.io_binding()
            for name, value in values.items():
                binding.bind_ortvalue_input(name, value)
            for name, array in cache.items():
                shared = onnxruntime.OrtValue.ortvalue_from_numpy(array)  # the array's own memory
                binding.bind_ortvalue_input(f"past_{name}", shared)
                binding.bind_ortvalue_output(f"present_{name}", shared)
            binding.bind_ortvalue_output("out", out)
            start = time.perf_counter()
            self.session.run_with_iobinding(binding)
            found.append(time.perf_counter() - start)
        return found


def measure(kind: str, tokens: int, length: int, layers: Layers, rounds: int, threads: int) -> dict[str, Any]:
    """One line of the table."""
    times: list[float] = []
    reads: list[float] = []
    for _ in range(rounds):
        reads.append(read_bandwidth(threads))
        times += layers.seconds(tokens, length, LAYERS_OF_ONE_TOKEN if tokens == 1 else 2)
    size = sum(array[:, :, :length].nbytes for array in layers.caches[0].values())
    work = 4 * HEADS * HEAD_DIM * (tokens * (length - tokens) + tokens * (tokens + 1) / 2)
    return {
        "operator": kind,
        "tokens": tokens,
        "length": length,
        "ms": median(times) * 1e3,
        "best_ms": min(times) * 1e3,
        "gb_per_s": size / median(times) / 1e9,
        "best_gb_per_s": size / min(times) / 1e9,
        "bandwidth_fraction": size / median(times) / median(reads),
        "gflop_per_s": work / median(times) / 1e9,
        "best_gflop_per_s": work / min(times) / 1e9,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and the JSON line."""
    parser = argparse.ArgumentParser(prog="python -m bench.attention", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="of each case (default 7)")
    parser.add_argument("--longest", type=int, default=4096, help="leave out what needs more context")
    args = parser.parse_args(arguments)
    machine = print_ceiling()
    threads, isa = resolve_threads(os.environ), describe(library_path(given_library(os.environ))).isa
    found = []
    print(f"{isa}, each the median and the best")
    print(f"{'operator':<15}{'tokens':>6}{'length':>7}{'ms':>17}{'GB/s':>12}{'of read':>8}{'GFLOP/s':>10}")
    for kind in KINDS:
        layers = Layers(kind, args.longest, threads)
        for tokens, length in CASES:
            if length > args.longest:
                continue
            row = measure(kind, tokens, length, layers, args.rounds, threads)
            found.append(row)
            print(
                f"{kind:<15}{tokens:>6}{length:>7}{row['ms']:>9.3f}{row['best_ms']:>8.3f}{row['gb_per_s']:>6.1f}"
                f"{row['best_gb_per_s']:>6.1f}{row['bandwidth_fraction']:>8.0%}{row['gflop_per_s']:>5.0f}"
                f"{row['best_gflop_per_s']:>5.0f}",
                flush=True,
            )
    print(json.dumps({"bench": "attention", "isa": isa, "figures": found, "machine": machine}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
