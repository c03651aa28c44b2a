"""Run a case of attention through onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from tests.kernels.attention_plain import EPSILON, Cache, Case, Floats
from tests.kernels.models import node_model, session, value

FLOAT, INT32 = ir.DataType.FLOAT, ir.DataType.INT32


def names(case: Case, time: str) -> list[str]:
    """Of the cache's tensors, `past` or `present`."""
    return [f"{time}_{name}" for name in ("key", "value", "key_scale", "value_scale")[: len(case.cache.arrays())]]


def attributes(case: Case) -> dict[str, float | int]:
    """Of the node."""
    kv_heads = case.cache.elements[0].shape[1]
    given: dict[str, float | int] = {"num_heads": case.heads, "kv_num_heads": kv_heads, "scale": case.scale}
    optional = {"window": case.window, "softcap": case.softcap}
    return given | {"epsilon": EPSILON} | {name: value for name, value in optional.items() if value is not None}


def attention_model(case: Case, given: Mapping[str, float | int] | None = None) -> bytes:
    """A model of one node; everything is an input."""
    stored = ir.DataType.INT8 if case.cache.scales else ir.DataType.FLOAT16
    kinds = [(stored, 4), (stored, 4), (FLOAT, 3), (FLOAT, 3)]
    past, present = (
        [value(name, *kind) for name, kind in zip(names(case, time), kinds, strict=False)]
        for time in ("past", "present")
    )
    others: list[ir.Value | None] = [value("seqlens_k", INT32, 1)]
    others += [value("cos", FLOAT, 2), value("sin", FLOAT, 2)] if case.turned else [None, None]
    norms: list[ir.Value | None] = [value(name, FLOAT, 1) for name in ("q_norm", "k_norm")[: len(case.norms)]]
    if case.slots is not None:
        norms += [None] * (2 - len(norms)) + [value("slots", INT32, 1)]
    kind = "AttentionInt8" if case.cache.scales else "AttentionF16"
    outputs = [value("out", FLOAT, 3), *present]
    return node_model(
        kind,
        [value("qkv", FLOAT, 3), *past, *others, *norms],
        outputs,
        **(attributes(case) if given is None else given),
    )


@cache
def _session(model: bytes, threads: int) -> onnxruntime.InferenceSession:
    return session(model, threads)


def feeds(case: Case) -> dict[str, NDArray[Any]]:
    """The inputs, in arrays."""
    angles = case.angles if case.turned else None
    tables = {} if angles is None else {"cos": np.cos(angles), "sin": np.sin(angles)}
    return {
        "qkv": case.qkv,
        **dict(zip(names(case, "past"), case.cache.arrays(), strict=True)),
        "seqlens_k": case.lengths - np.int32(1),
        **{name: table.astype(np.float32) for name, table in tables.items()},
        **dict(zip(("q_norm", "k_norm"), case.norms, strict=False)),
        **({} if case.slots is None else {"slots": case.slots}),
    }


def run_apart(case: Case, threads: int = 1) -> tuple[Floats, Cache]:
    """Run it with a present of its own."""
    out, *present = _session(attention_model(case), threads).run(None, feeds(case))
    return out, Cache((present[0], present[1]), tuple(present[2:]))


def run(case: Case, threads: int = 1) -> tuple[Floats, Cache]:
    """Run it with past and present in the same memory; the case's own cache stays as it is."""
    loaded = _session(attention_model(case), threads)
    binding = loaded.io_binding()
    arrays = {name: array.copy() for name, array in feeds(case).items()}  # an OrtValue uses an array's memory as it is
    values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}
    for name, ort_value in values.items():
        binding.bind_ortvalue_input(name, ort_value)
    for past, present in zip(names(case, "past"), names(case, "present"), strict=True):
        binding.bind_ortvalue_output(present, values[past])
    binding.bind_output("out")
    loaded.run_with_iobinding(binding)
    keys, cache_values, *scales = (arrays[name] for name in names(case, "past"))
    return binding.get_outputs()[-1].numpy(), Cache((keys, cache_values), tuple(scales))
