"""A graph in the making: nodes with names, constants, and weights that lie in the weights file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from onnx_ir import tape

from model_export.config import ModelConfig
from model_export.parts import Attention, Gate, Norm
from model_export.weights import Weight

MICROSOFT = "com.microsoft"
WEIGHTS_FILE = "model.safetensors"
DTYPES = {"U8": ir.DataType.UINT8, "F32": ir.DataType.FLOAT}


@dataclass
class Builder:
    """A graph in the making.

    Attributes:
        weights: planned weights by name.
        offsets: stored tensor name → offset in the weights file.
        tape: the nodes so far.
        initializers: weights used so far, by the name of the graph value.
    """

    config: ModelConfig
    weights: Mapping[str, Weight]
    offsets: Mapping[str, int]
    tape: tape.Tape = field(default_factory=tape.Tape)
    initializers: dict[str, ir.Value] = field(default_factory=dict)

    def op(
        self, kind: str, inputs: Sequence[ir.Value | None], name: str, domain: str = "", **attributes: float | int
    ) -> ir.Value:
        """Add a node with one output."""
        output = ir.Value(name=f"{name}.output")
        return self.tape.op(kind, inputs, attributes, domain=domain, name=name, output=output)

    def outputs(
        self,
        kind: str,
        inputs: Sequence[ir.Value | None],
        name: str,
        names: Sequence[str],
        domain: str = "",
        **attributes: float | int,
    ) -> Sequence[ir.Value]:
        """Add a node with several outputs; an empty name leaves one out."""
        values = [ir.Value(name=n) for n in names]
        return self.tape.op_multi_out(kind, inputs, attributes, outputs=values, domain=domain, name=name)

    def constant(self, name: str, value: Sequence[int]) -> ir.Value:
        """An int64 vector, inside the graph."""
        if name not in self.initializers:
            tensor = ir.tensor(np.array(value, dtype=np.int64), name=name)
            self.initializers[name] = ir.Value(
                name=name, shape=ir.Shape([len(value)]), type=ir.TensorType(tensor.dtype), const_value=tensor
            )
        return self.initializers[name]

    def scaled(self, x: ir.Value, factor: float, name: str) -> ir.Value:
        """`x · factor`, in a node if the factor isn't 1."""
        if factor == 1:
            return x
        tensor = ir.tensor(np.array(factor, dtype=np.float32), name=f"{name}.factor")
        value = ir.Value(name=tensor.name, shape=ir.Shape([]), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self.initializers[f"{name}.factor"] = value
        return self.op("Mul", [x, value], name)

    def stored(self, name: str, shape: tuple[int, ...] | None = None, view: str = "") -> ir.Value:
        """A tensor in the weights file, under its own shape or, with a `view` name, under another."""
        value_name = name + view
        if value_name not in self.initializers:
            weight = self.weights[name if name in self.weights else name.rpartition("_")[0]]
            spec = next(spec for spec in weight.tensors if spec.name == name)
            tensor = ir.ExternalTensor(
                WEIGHTS_FILE,
                self.offsets[name],
                spec.nbytes,
                DTYPES[spec.dtype],
                shape=ir.Shape(shape or spec.shape),
                name=value_name,
            )
            self.initializers[value_name] = ir.Value(
                name=value_name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
            )
        return self.initializers[value_name]


def rms_norm(b: Builder, norm: Norm, x: ir.Value, name: str | None = None) -> ir.Value:
    """RMSNorm over the last axis; the node has the norm's own name unless another is given."""
    return b.op(
        "SimplifiedLayerNormalization",
        [x, b.stored(norm.weight)],
        name or norm.name,
        axis=-1,
        epsilon=norm.stored_epsilon,
        stash_type=1,
    )


def activate(b: Builder, gate: Gate, gate_up: ir.Value) -> ir.Value:
    """`activation(gate) * up`: `(…, 2 * intermediate_size)` → half of it."""
    name = gate.name
    first, up = b.outputs("Split", [gate_up], f"{name}.split", [f"{name}.gate", f"{name}.up"], axis=-1, num_outputs=2)
    return b.op("Mul", [activation(b, gate, first), up], f"{name}.mul")


def activation(b: Builder, gate: Gate, x: ir.Value) -> ir.Value:
    """The gate's activation, element by element."""
    name = f"{gate.name}.act_fn"
    match gate.activation:
        case "silu":
            return b.op("QuickGelu", [x], name, MICROSOFT, alpha=1.0)
        case "gelu":
            return b.op("Gelu", [x], name, MICROSOFT)
        case "gelu_tanh":
            return b.op("FastGelu", [x], name, MICROSOFT)
        case "relu":
            return b.op("Relu", [x], name)
        case other:
            raise ValueError(other)


def normed_heads(
    b: Builder, part: Attention, norms: tuple[Norm, Norm], qkv: ir.Value
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Take q, k and v apart, each `(B, S, heads * head_dim)`, and norm q and k."""
    kv = part.kv_heads.stored
    sizes = b.constant("qkv_sizes", [part.heads.stored, kv, kv])
    query, key, value = b.outputs(
        "Split", [qkv, sizes], f"{part.name}.split", [f"{part.name}.{piece}" for piece in ("q", "k", "v")], axis=-1
    )
    return head_norm(b, part, norms[0], query), head_norm(b, part, norms[1], key), value


def head_norm(b: Builder, part: Attention, norm: Norm, x: ir.Value) -> ir.Value:
    """RMSNorm of each head, or of all of a position together: `(B, S, heads * head_dim)`, same shape out."""
    if part.whole_norms:
        return rms_norm(b, norm, x)
    split = b.op("Reshape", [x, b.constant("by_head", [0, 0, -1, part.heads.layout.stored])], f"{norm.name}.by_head")
    normed = rms_norm(b, norm, split)
    return b.op("Reshape", [normed, b.constant("all_heads", [0, 0, -1])], f"{norm.name}.all_heads")
