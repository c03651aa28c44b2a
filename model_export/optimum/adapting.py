"""Optimum's graph → one with the inputs and outputs that the handler gives and takes; docs/artefact.md has them.

Optimum's takes the keys and values so far and gives them with the new ones behind, so that the cache grows. Here it
has its whole length from the beginning: a node in front cuts out what is written of it, one behind writes what is new
into its place. With past and present in the same memory, only what was cut out is copied.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from onnx_ir import tape

from model_export.errors import GraphUnsupported
from model_export.graph import PAST, PRESENT

CACHE = re.compile(rf"{PAST}\.\d+\.(key|value)")
KNOWN = {"input_ids", "attention_mask", "position_ids"}
TOKENS = 2  # the axis of a cache that tokens are on
ELEMENTWISE = ("Add", "Sub", "Mul", "Div", "Tanh", "Cast", "Identity")  # what may lie between the head and the logits


@dataclass(frozen=True)
class Adapted:
    """What is to be known of a graph for the handler.

    Attributes:
        layers: that have a cache.
        heads: of each layer's keys, and of its values.
        head_dim: the same.
        head: name of the weight that gives the logits; None where it can't be told.
    """

    layers: int
    heads: int
    head_dim: int
    head: str | None


@dataclass
class _Nodes:
    """New nodes; `Graph.sort` puts them in their places."""

    tape: tape.Tape = field(default_factory=tape.Tape)
    initializers: dict[str, ir.Value] = field(default_factory=dict)

    def op(self, kind: str, *inputs: ir.Value | None, name: str, **attributes: int) -> ir.Value:
        output = ir.Value(name=f"firebrick.{name}")
        return self.tape.op(kind, inputs, attributes, name=f"firebrick.{name}", output=output)

    def constant(self, *values: int, scalar: bool = False) -> ir.Value:
        """An int64 vector, or a scalar."""
        name = f"firebrick.{'scalar' if scalar else 'constant'}.{'_'.join(map(str, values))}"
        if name not in self.initializers:
            array = np.array(values[0] if scalar else values, dtype=np.int64)
            tensor = ir.tensor(array, name=name)
            self.initializers[name] = ir.Value(
                name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
            )
        return self.initializers[name]


@dataclass(frozen=True)
class _Lengths:
    """Vectors of one int64: sequences, new tokens of each, tokens before and behind this step."""

    batch: ir.Value
    new: ir.Value
    past: ir.Value
    total: ir.Value


def adapt(model: ir.Model) -> Adapted:
    """Give a graph the handler's inputs and outputs, in place.

    Args:
        model: exported by optimum as "text-generation-with-past".

    Raises:
        GraphUnsupported: it has inputs, outputs or a cache that the handler can't serve.
    """
    graph, nodes = model.graph, _Nodes()
    inputs = {value.name or "": value for value in graph.inputs}
    outputs = {value.name or "": value for value in graph.outputs}
    caches = {name: value for name, value in inputs.items() if CACHE.fullmatch(name)}
    _check(inputs, outputs, caches)
    shape = _cache_shape(caches)
    _drop_copies(graph)
    given = _inputs(caches, shape)
    lengths = _lengths(nodes, inputs["input_ids"], given["total_sequence_length"])
    _replace_mask_and_positions(nodes, inputs, lengths)
    places = _places(nodes, lengths, shape[0])
    presents = []
    for name, past in caches.items():
        written = nodes.op("Slice", given[name], nodes.constant(0), lengths.past, nodes.constant(TOKENS), name=name)
        past.replace_all_uses_with(written)
        grown = outputs[name.replace(PAST, PRESENT)]
        presents.append(_write_back(nodes, given[name], grown, lengths, places))
    head = head_of(outputs["logits"])
    logits = _logits(nodes, outputs["logits"], head, given["logits_indices"])
    graph.inputs[:] = [inputs["input_ids"], *given.values()]
    graph.outputs[:] = [logits, *presents]
    for value in nodes.initializers.values():
        graph.register_initializer(value)
    graph.extend(nodes.tape.nodes)
    graph.sort()
    weight = head and head.inputs[1]
    return Adapted(len(caches) // 2, *shape, weight.name if weight else None)


def _check(inputs: Mapping[str, ir.Value], outputs: Mapping[str, ir.Value], caches: Mapping[str, ir.Value]) -> None:
    others = set(inputs) - KNOWN - set(caches)
    missing = {"logits", *(name.replace(PAST, PRESENT) for name in caches)} - set(outputs)
    if others:
        raise GraphUnsupported(f"optimum's graph wants {min(others)!r}, which the server has nothing for")
    if "input_ids" not in inputs or not caches or missing:
        lacking = min(missing, default="input_ids" if "input_ids" not in inputs else f"{PAST}.0.key")
        raise GraphUnsupported(f"optimum's graph has no {lacking!r}, so the server can't run it token by token")


def _drop_copies(graph: ir.Graph) -> None:
    """Use initializers where optimum has copies of equal ones."""
    for node in list(graph):
        if node.op_type == "Identity" and node.inputs[0] is not None and node.inputs[0].is_initializer():
            node.outputs[0].replace_all_uses_with(node.inputs[0])
            graph.remove(node, safe=True)


def _cache_shape(caches: Mapping[str, ir.Value]) -> tuple[int, int]:
    """Heads and head_dim that all parts of all layers have."""
    shapes = {name: tuple(value.shape or ()) for name, value in caches.items()}
    first = next(iter(shapes.values()))
    for name, shape in shapes.items():
        whole = len(shape) == 4 and isinstance(shape[1], int) and isinstance(shape[3], int)
        if not whole or (shape[1], shape[3]) != (first[1], first[3]) or caches[name].dtype != ir.DataType.FLOAT:
            raise GraphUnsupported(
                f"optimum's graph has a cache {name} of {[str(size) for size in shape]}: the server has float32 of "
                "batch × heads × tokens × head_dim, with the same heads and head_dim in all layers"
            )
    heads, head_dim = first[1], first[3]
    assert isinstance(heads, int)
    assert isinstance(head_dim, int)
    return heads, head_dim


def _inputs(caches: Mapping[str, ir.Value], shape: tuple[int, int]) -> dict[str, ir.Value]:
    """The handler's inputs but `input_ids`."""

    def value(name: str, dtype: ir.DataType, sizes: Sequence[int | str]) -> ir.Value:
        return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(sizes))

    values = [
        value("seqlens_k", ir.DataType.INT32, ["batch"]),
        value("total_sequence_length", ir.DataType.INT32, []),
        value("logits_indices", ir.DataType.INT64, ["num_logits"]),
        *(value(name, ir.DataType.FLOAT, ["batch", shape[0], "max_sequence", shape[1]]) for name in caches),
    ]
    return {v.name or "": v for v in values}


def _lengths(nodes: _Nodes, ids: ir.Value, total: ir.Value) -> _Lengths:
    batch = nodes.op("Shape", ids, name="batch", start=0, end=1)
    new = nodes.op("Shape", ids, name="new", start=1, end=2)
    wide = nodes.op("Cast", total, name="total", to=ir.DataType.INT64.value)
    vector = nodes.op("Reshape", wide, nodes.constant(1), name="total_vector")
    return _Lengths(batch, new, nodes.op("Sub", vector, new, name="past"), vector)


def _replace_mask_and_positions(nodes: _Nodes, inputs: Mapping[str, ir.Value], lengths: _Lengths) -> None:
    """No token is masked, and positions go on where the cache ends."""
    if "attention_mask" in inputs:
        size = nodes.op("Concat", lengths.batch, lengths.total, name="mask_size", axis=0)
        mask = nodes.op("Expand", nodes.constant(1), size, name="mask")
        inputs["attention_mask"].replace_all_uses_with(mask)
    if "position_ids" in inputs:
        size = nodes.op("Concat", lengths.batch, lengths.new, name="positions_size", axis=0)
        positions = nodes.op("Expand", _range(nodes, lengths.past, lengths.total, "new"), size, name="positions")
        inputs["position_ids"].replace_all_uses_with(positions)


def _range(nodes: _Nodes, start: ir.Value, end: ir.Value, name: str) -> ir.Value:
    """The int64 from one to before the other, both vectors of one."""
    ends = [nodes.op("Squeeze", value, nodes.constant(0), name=f"{name}.{i}") for i, value in enumerate((start, end))]
    return nodes.op("Range", *ends, nodes.constant(1, scalar=True), name=f"{name}.range")


def _places(nodes: _Nodes, lengths: _Lengths, num_heads: int) -> ir.Value:
    """Where new keys and values go, for ScatterND: int64 `(batch, heads, new, 3)`."""
    zero, heads = nodes.constant(0), nodes.constant(num_heads)
    size = nodes.op("Concat", lengths.batch, heads, lengths.new, nodes.constant(1), name="places_size", axis=0)
    along = [
        (_range(nodes, zero, lengths.batch, "batches"), nodes.constant(-1, 1, 1, 1)),
        (_range(nodes, zero, heads, "heads"), nodes.constant(1, -1, 1, 1)),
        (_range(nodes, lengths.past, lengths.total, "tokens"), nodes.constant(1, 1, -1, 1)),
    ]
    grids = [
        nodes.op("Expand", nodes.op("Reshape", numbers, to, name=f"place.{i}"), size, name=f"places.{i}")
        for i, (numbers, to) in enumerate(along)
    ]
    return nodes.op("Concat", *grids, name="places", axis=-1)


def _write_back(nodes: _Nodes, past: ir.Value, grown: ir.Value, lengths: _Lengths, places: ir.Value) -> ir.Value:
    """Write what is new at the end of optimum's `grown` cache into ours; gives the output."""
    name = grown.name
    assert name is not None
    grown.name = f"{name}.grown"
    new = nodes.op("Slice", grown, lengths.past, lengths.total, nodes.constant(TOKENS), name=f"{name}.new")
    present = nodes.op("ScatterND", past, places, new, name=name)
    present.name, present.type, present.shape = name, past.type, past.shape
    return present


def _logits(nodes: _Nodes, logits: ir.Value, head: ir.Node | None, indices: ir.Value) -> ir.Value:
    """Give the logits of the wanted positions only, and run the head for no others where it can be found.

    Returns:
        float32 `(num_logits, vocab_size)`.
    """
    vocab_size = list(logits.shape or ())[-1]
    logits.name = "logits.all"
    if head is not None and head.inputs[0] is not None:
        head.replace_input_with(0, _gather(nodes, head.inputs[0], indices))
        wanted = logits
    else:
        wanted = _gather(nodes, logits, indices)
    found = nodes.op("Squeeze", wanted, nodes.constant(0), name="logits")
    found.name, found.type, found.shape = (
        "logits",
        ir.TensorType(ir.DataType.FLOAT),
        ir.Shape(["num_logits", vocab_size]),
    )
    return found


def _gather(nodes: _Nodes, x: ir.Value, indices: ir.Value) -> ir.Value:
    """Rows of all positions, flattened: `(batch, new, n)` → `(1, num_logits, n)`."""
    width = nodes.op("Shape", x, name="width", start=2, end=3)
    size = nodes.op("Concat", nodes.constant(1, -1), width, name="flat_size", axis=0)
    flat = nodes.op("Reshape", x, size, name="flat")
    return nodes.op("Gather", flat, indices, name="wanted", axis=1)


def head_of(logits: ir.Value) -> ir.Node | None:
    """The matrix product that gives the logits, if nothing but numbers lies between."""
    value: ir.Value | None = logits
    while value is not None:
        node = value.producer()
        if node is None or len(value.uses()) > 1:
            return None
        if node.op_type == "MatMul":
            return node
        if node.op_type not in ELEMENTWISE:
            return None
        varying = [v for v in node.inputs if v is not None and not _is_number(v)]
        value = varying[0] if len(varying) == 1 else None
    return None


def _is_number(value: ir.Value) -> bool:
    """Whether it is constant, and the same for all positions."""
    producer = value.producer()
    if producer is not None and producer.op_type == "Constant":
        return True
    return value.is_initializer()
