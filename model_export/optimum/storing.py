"""A graph's tensors → model.safetensors, in order of use, and model.onnx that refers to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx_ir as ir

from model_export import artefact, safetensors_file
from model_export.graph import serialize
from model_export.options import ExportOptions
from model_export.progress import Progress
from model_export.safetensors_file import TensorSpec
from model_export.weights import array_bytes

LEAST_STORED = 512  # bytes; what is smaller stays in the graph, as shapes and indices do
MEGABYTE = 1_000_000


def store(model: ir.Model, stage: Path, options: ExportOptions) -> str:
    """Write graph and weights.

    Args:
        model: its large tensors are those of the file then.
        stage: the artefact's directory.
        options: of the export.

    Returns:
        sha256 of the weights' file, hexadecimal.

    Raises:
        DiskFull: there is no room for them.
    """
    stored = {spec(value).name: value for value in in_order_of_use(model.graph)}
    specs = [spec(value) for value in stored.values()]
    metadata = artefact.weights_metadata(options.quantization, options.block_size, options.kernels)
    layout = safetensors_file.lay_out(specs, metadata)
    artefact.check_space(stage, layout.nbytes + 32 * MEGABYTE)
    progress = Progress(sum(spec.nbytes for spec in specs))

    def contents() -> Iterator[tuple[str, Iterable[memoryview]]]:
        for name, value in stored.items():
            yield name, [array_bytes(tensor_of(value).numpy())]

    digest = safetensors_file.write(stage / artefact.WEIGHTS, layout, contents(), progress.advance)
    progress.close()
    for name, value in stored.items():
        tensor, shape = tensor_of(value), value.shape
        assert shape is not None
        value.const_value = ir.ExternalTensor(
            artefact.WEIGHTS, layout.offsets[name], tensor.nbytes, tensor.dtype, shape=shape, name=name
        )
    (stage / artefact.GRAPH).write_bytes(serialize(model))
    return digest


def in_order_of_use(graph: ir.Graph) -> Iterator[ir.Value]:
    """Each initializer that doesn't stay in the graph, once."""
    seen: set[str] = set()
    for node in graph:
        for value in node.inputs:
            if value is None or value.name is None or value.name in seen or value.name not in graph.initializers:
                continue
            seen.add(value.name)
            if tensor_of(value).nbytes >= LEAST_STORED:
                yield value


def tensor_of(value: ir.Value) -> ir.TensorProtocol:
    """An initializer's tensor."""
    assert value.const_value is not None
    return value.const_value


def spec(value: ir.Value) -> TensorSpec:
    """A tensor as SafeTensors has it: floats as they are, all else as bytes; the graph knows what these mean."""
    tensor, name = tensor_of(value), value.name
    assert name is not None
    shape = tuple(int(size) for size in tensor.shape if isinstance(size, int))
    if tensor.dtype == ir.DataType.FLOAT:
        return TensorSpec(name, "F32", shape)
    return TensorSpec(name, "U8", shape if tensor.dtype == ir.DataType.UINT8 else (tensor.nbytes,))
