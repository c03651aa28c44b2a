"""Matrix products with constant weights → onnxruntime's MatMulNBits, by onnxruntime's own quantizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from model_export.builder import MICROSOFT
from model_export.options import ExportOptions
from model_export.stock_operators import ACCURACY_LEVELS


@dataclass(frozen=True)
class Quantized:
    """One weight: its bits, how many values it has, and its bytes with scales in float32."""

    bits: int
    count: int
    nbytes: int


@dataclass(frozen=True)
class _Product:
    """A product `x @ weight + bias`.

    Attributes:
        weight: an initializer, float32 `(K, N)`, or `(N, K)` if `transposed`.
        bias: `(N,)`, or none.
    """

    node: ir.Node
    x: ir.Value
    weight: ir.Value
    transposed: bool
    bias: ir.Value | None


def quantize(model: ir.Model, options: ExportOptions, head: str | None) -> Mapping[str, Quantized]:
    """Round the weights of matrix products to the nearest of 4 bits, in place; the head's to its own bits.

    Args:
        model: adapted.
        options: of the export.
        head: the weight that gives the logits; None where that isn't known.

    Returns:
        what was quantized, by the name of the tensor that has the values.
    """
    graph, found, packed = model.graph, dict[str, Quantized](), dict[tuple[str, bool], tuple[ir.Value, ir.Value]]()
    for product in list(_products(graph)):
        name = product.weight.name or ""
        bits = options.default_head_bits if name == head else 4
        weight = product.weight.const_value
        assert weight is not None
        rows = weight.numpy().T if product.transposed else weight.numpy()
        key = name, product.transposed
        if key not in packed:
            packed[key] = _pack(name, rows, bits, options.block_size)
            for value in packed[key]:
                graph.register_initializer(value)
        values, scales = packed[key]
        _replace(graph, product, values, scales, rows.shape, bits, options)
        if not product.weight.uses():
            del graph.initializers[name]
        nbytes = sum(v.const_value.nbytes for v in packed[key] if v.const_value is not None)
        found[values.name or ""] = Quantized(bits, rows.size, nbytes)
    graph.opset_imports[MICROSOFT] = 1
    return found


def _products(graph: ir.Graph) -> Iterator[_Product]:
    for node in graph:
        if node.op_type not in ("MatMul", "Gemm"):
            continue
        x, weight, bias = [*node.inputs, None][:3]
        if x is None or weight is None or not _is_matrix(weight):
            continue
        if node.op_type == "MatMul":
            yield _Product(node, x, weight, False, None)
        elif _is_plain(node) and (bias is None or (bias.shape is not None and len(bias.shape) == 1)):
            yield _Product(node, x, weight, _number(node, "transB", 0) == 1, bias)


def _is_matrix(value: ir.Value) -> bool:
    tensor = value.const_value
    return (
        value.is_initializer() and tensor is not None and len(tensor.shape) == 2 and tensor.dtype == ir.DataType.FLOAT
    )


def _is_plain(gemm: ir.Node) -> bool:
    return _number(gemm, "transA", 0) == 0 and _number(gemm, "alpha", 1) == 1 and _number(gemm, "beta", 1) == 1


def _number(node: ir.Node, name: str, default: float) -> float:
    attribute = node.attributes.get(name)
    return default if attribute is None else float(attribute.value)


def _pack(name: str, weight: NDArray[np.float32], bits: int, block_size: int) -> tuple[ir.Value, ir.Value]:
    """Quantize `(K, N)`: values uint8 `(N, blocks, bytes)`, scales float32 `(N, blocks)`."""
    # Imported here: it takes half a second, and only this builder needs it.
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, DefaultWeightOnlyQuantizer

    config = DefaultWeightOnlyQuantConfig(block_size=block_size, is_symmetric=True, bits=bits)
    values, scales, _ = DefaultWeightOnlyQuantizer(config).qbits_block_quant(np.ascontiguousarray(weight))
    stored = f"{name}_Q{bits}"
    return _initializer(stored, values), _initializer(f"{stored}_scale", scales.reshape(weight.shape[1], -1))


def _initializer(name: str, array: NDArray[np.generic]) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    return ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)


def _replace(
    graph: ir.Graph,
    product: _Product,
    values: ir.Value,
    scales: ir.Value,
    shape: tuple[int, ...],
    bits: int,
    options: ExportOptions,
) -> None:
    old = product.node.outputs[0]
    attributes = {
        "K": shape[0],
        "N": shape[1],
        "bits": bits,
        "block_size": options.block_size,
        "accuracy_level": ACCURACY_LEVELS[options.activations],
    }
    output = ir.Value(name=old.name, type=old.type, shape=old.shape)
    bias = [None, None, product.bias] if product.bias is not None else []
    inputs = [product.x, values, scales, *bias]
    node = ir.node("MatMulNBits", inputs, attributes, domain=MICROSOFT, outputs=[output], name=product.node.name)
    ir.convenience.replace_nodes_and_values(graph, product.node, [product.node], [node], [old], [output])
