"""Models of one node, and sessions that have our operators."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray

from handler.engine.kernels import describe, given_library, library_path, register
from tests.kernels.plain import Matrix

LIBRARY = library_path(given_library(os.environ))
needs_library = pytest.mark.skipif(not LIBRARY.exists(), reason="no native kernels: make setup builds them with cargo")


def available() -> tuple[str, ...]:
    """Instruction sets that the library can use here."""
    return describe(LIBRARY).available if LIBRARY.exists() else ()


def value(name: str, dtype: ir.DataType, dimensions: int) -> ir.Value:
    """An input or output of a graph, of any size."""
    shape = ir.Shape([f"{name}_{i}" for i in range(dimensions)])
    return ir.Value(name=name, type=ir.TensorType(dtype), shape=shape)


def constant(name: str, array: NDArray[Any]) -> ir.Value:
    """An initializer inside the model."""
    tensor = ir.tensor(array, name=name)
    return ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)


def external(name: str, file: str, offset: int, shape: tuple[int, ...]) -> ir.Value:
    """An initializer of bytes in a file beside the model."""
    tensor = ir.ExternalTensor(file, offset, int(np.prod(shape)), ir.DataType.UINT8, shape=ir.Shape(shape), name=name)
    return ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)


def node_model(
    kind: str, inputs: Sequence[ir.Value | None], outputs: list[ir.Value], **attributes: float | int
) -> bytes:
    """A model of one node of ours; inputs with a value are initializers, and None is one that is left out."""
    there = [i for i in inputs if i is not None]
    node = ir.Node(
        "firebrick",
        kind,
        inputs,
        [ir.Attr(name, _kind(given), given) for name, given in attributes.items()],
        outputs=outputs,
        name="node",
    )
    graph = ir.Graph(
        [i for i in there if i.const_value is None],
        outputs,
        nodes=[node],
        initializers=[i for i in there if i.const_value is not None],
        opset_imports={"": 21, "firebrick": 1},
        name="one",
    )
    serialized: bytes = ir.serde.serialize_model(ir.Model(graph, ir_version=10)).SerializeToString()
    return serialized


def _kind(given: float | int) -> ir.AttributeType:
    return ir.AttributeType.INT if isinstance(given, int) else ir.AttributeType.FLOAT


def session(model: bytes | Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """Load a model with our operators."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    register(options, LIBRARY)
    given = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def sizes(matrix: Matrix, gated: int | None = None) -> dict[str, int]:
    """The attributes of a node that uses a matrix; `gated` is Linear's alone."""
    n, k = matrix.levels.shape
    return {"n": n, "k": k, "bits": matrix.bits, **({} if gated is None else {"gated": gated})}


def linear_model(
    weight: ir.Value, attributes: Mapping[str, int], bias: NDArray[np.float32] | None = None, dimensions: int = 2
) -> bytes:
    """A model of one Linear: x → y."""
    biases = [] if bias is None else [constant("bias", bias)]
    inputs = [value("x", ir.DataType.FLOAT, dimensions), weight, *biases]
    return node_model("Linear", inputs, [value("y", ir.DataType.FLOAT, dimensions)], **attributes)


def embedding_model(weight: ir.Value, attributes: Mapping[str, int], dimensions: int = 1) -> bytes:
    """A model of one Embedding: ids → y."""
    inputs = [value("ids", ir.DataType.INT64, dimensions), weight]
    return node_model("Embedding", inputs, [value("y", ir.DataType.FLOAT, dimensions + 1)], **attributes)
