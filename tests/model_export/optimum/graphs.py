"""Graphs as optimum exports them, small: a cache that grows, masks and positions as inputs, a head at the end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir import tape

VOCAB, HIDDEN, HEADS, HEAD_DIM = 96, 64, 2, 32


def value(name: str, dtype: ir.DataType, shape: Sequence[int | str]) -> ir.Value:
    """An input or output."""
    return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(shape))


def growing_graph(layers: int = 2) -> ir.Model:
    """A graph whose logits depend on every token before, on its position and on the mask's length."""
    rng, made = np.random.default_rng(0), dict[str, ir.Value]()

    def constant(name: str, array: np.ndarray) -> ir.Value:
        tensor = ir.tensor(array, name=name)
        shape, kind = ir.Shape(array.shape), ir.TensorType(tensor.dtype)
        made[name] = ir.Value(name=name, shape=shape, type=kind, const_value=tensor)
        return made[name]

    def weight(name: str, *shape: int) -> ir.Value:
        return constant(name, rng.standard_normal(shape).astype(np.float32) / np.float32(shape[0] ** 0.5))

    t = tape.Tape()
    ids = value("input_ids", ir.DataType.INT64, ["batch_size", "sequence_length"])
    mask = value("attention_mask", ir.DataType.INT64, ["batch_size", "past_sequence_length + sequence_length"])
    positions = value("position_ids", ir.DataType.INT64, ["batch_size", "sequence_length"])

    x = t.op("Gather", [weight("embed", VOCAB, HIDDEN), ids])
    x = t.op("Add", [x, t.op("Gather", [weight("positions", 64, HIDDEN), positions])])
    heads = constant("heads", np.array([0, 0, HEADS, HEAD_DIM], np.int64))
    flat = constant("flat", np.array([-1, HIDDEN], np.int64))
    whole = constant("whole", np.array([1, -1, HIDDEN], np.int64))
    pasts, presents = [], []
    for layer in range(layers):
        grown = []
        for part in ("key", "value"):
            past = value(f"past_key_values.{layer}.{part}", ir.DataType.FLOAT, ["batch_size", HEADS, "past", HEAD_DIM])
            new = t.op("Transpose", [t.op("Reshape", [x, heads])], {"perm": [0, 2, 1, 3]})
            present = t.op("Concat", [past, new], {"axis": 2})
            present.name = f"present.{layer}.{part}"
            present.type, present.shape = past.type, ir.Shape(["batch_size", HEADS, "total", HEAD_DIM])
            pasts.append(past)
            presents.append(present)
            grown.append(present)
        # Causal by construction: a running sum over tokens, of which the new ones are the last.
        sums = t.op("CumSum", [t.op("Add", grown), constant("axis", np.array(2, np.int64))])
        length = t.op("Shape", [x], {"start": 1, "end": 2})
        ends = t.op("Shape", [mask], {"start": 1, "end": 2})
        mixed = t.op("Slice", [sums, t.op("Sub", [ends, length]), ends, constant("two", np.array([2], np.int64))])
        mixed = t.op("Reshape", [t.op("Transpose", [mixed], {"perm": [0, 2, 1, 3]}), whole])
        bias = t.op("Identity", [weight("bias", HIDDEN)]) if layer == 0 else made["bias"]
        rows = t.op("Gemm", [t.op("Reshape", [mixed, flat]), weight(f"mix.{layer}", HIDDEN, HIDDEN), bias])
        x = t.op("Tanh", [t.op("Add", [x, t.op("Reshape", [rows, whole])])])
    logits = t.op(
        "Div", [t.op("MatMul", [x, weight("lm_head", HIDDEN, VOCAB)]), constant("cap", np.array([2.0], np.float32))]
    )
    logits.name = "logits"
    logits.type, logits.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(["batch_size", "sequence_length", VOCAB])

    graph = ir.Graph(
        [ids, *pasts, mask, positions],
        [logits, *presents],
        nodes=t.nodes,
        initializers=list(made.values()),
        opset_imports={"": 18},
        name="main_graph",
    )
    return ir.Model(graph, ir_version=8)
