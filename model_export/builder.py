"""A graph in the making: nodes with names, constants, and weights that lie in the weights file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from onnx_ir import tape

from model_export.config import ModelConfig
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


def rms_norm(b: Builder, name: str, x: ir.Value, weight: ir.Value, epsilon: float) -> ir.Value:
    """RMSNorm over the last axis (Zhang and Sennrich, 2019)."""
    return b.op("SimplifiedLayerNormalization", [x, weight], name, axis=-1, epsilon=epsilon, stash_type=1)


def activate(b: Builder, name: str, gate_up: ir.Value) -> ir.Value:
    """`activation(gate) * up` of the block `name`: `(…, 2 * intermediate_size)` → half of it."""
    gate, up = b.outputs("Split", [gate_up], f"{name}.split", [f"{name}.gate", f"{name}.up"], axis=-1, num_outputs=2)
    return b.op("Mul", [activation(b, f"{name}.act_fn", gate), up], f"{name}.mul")


def activation(b: Builder, name: str, x: ir.Value) -> ir.Value:
    """The config's `hidden_act`, element by element."""
    match b.config.hidden_act:
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
