from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from safetensors.numpy import load_file

from model_export.optimum.adapting import adapt
from model_export.optimum.checking import logits_by_steps, probe
from model_export.optimum.quantizing import quantize
from model_export.optimum.storing import store
from model_export.options import ExportOptions
from tests.model_export.optimum.graphs import HIDDEN, VOCAB, growing_graph

EXACT = ExportOptions(rounding="nearest", activations="float32")
FLOATS = ExportOptions(quantization="none")


def stored(stage: Path, options: ExportOptions) -> np.ndarray:
    """Logits of an adapted graph, quantized if the options say so, and read back from its files."""
    stage.mkdir()
    found = adapt(model := growing_graph())
    if options.quantization == "int4":
        quantize(model, options, found.head)
    store(model, stage, options)
    return logits_by_steps(stage / "model.onnx", probe(VOCAB, 48), 64)


def dequantized(tensors: dict[str, np.ndarray], name: str, bits: int) -> np.ndarray:
    """A weight `(K, N)` as MatMulNBits reads it."""
    values, scales = tensors[f"{name}_Q{bits}"], tensors[f"{name}_Q{bits}_scale"]
    wide = values if bits == 8 else np.stack([values & 15, values >> 4], -1).reshape(*values.shape[:2], -1)
    blocks: np.ndarray = (wide.astype(np.float32) - 2 ** (bits - 1)) * scales[..., None]
    return blocks.reshape(len(values), -1).T


@pytest.mark.parametrize(("name", "bits", "step"), [("mix.0", 4, 1 / 8), ("mix.1", 4, 1 / 8), ("lm_head", 8, 1 / 128)])
def test_weights_are_rounded_to_their_bits(name: str, bits: int, step: float, tmp_path: Path) -> None:
    stored(tmp_path / "out", EXACT)
    weight = growing_graph().graph.initializers[name].const_value
    assert weight is not None
    found = dequantized(load_file(tmp_path / "out" / "model.safetensors"), name, bits)
    assert np.abs(found - weight.numpy()).max() <= step * np.abs(weight.numpy()).max()


def test_what_is_stored_computes_with_the_rounded_weights(tmp_path: Path) -> None:
    found = stored(tmp_path / "int4", EXACT)
    tensors = load_file(tmp_path / "int4" / "model.safetensors")
    adapt(model := growing_graph())
    for name, bits in (("mix.0", 4), ("mix.1", 4), ("lm_head", 8)):
        model.graph.initializers[name].const_value = ir.tensor(dequantized(tensors, name, bits), name=name)
    ir.save(model, tmp_path / "rounded.onnx")
    assert np.abs(found - logits_by_steps(tmp_path / "rounded.onnx", probe(VOCAB, 48), 64)).max() < 1e-5


def test_unquantized_weights_are_stored_to_the_bit(tmp_path: Path) -> None:
    stored(tmp_path / "out", FLOATS)
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    for name in ("embed", "mix.0", "lm_head"):
        weight = growing_graph().graph.initializers[name].const_value
        assert weight is not None
        assert (tensors[name] == weight.numpy()).all()


def test_weights_lie_in_the_order_of_their_use_and_small_ones_in_the_graph(tmp_path: Path) -> None:
    stored(tmp_path / "out", FLOATS)
    header = (tmp_path / "out" / "model.safetensors").read_bytes()
    names = ["embed", "positions", "mix.0", "mix.1", "lm_head"]
    places = [header.index(f'"{name}"'.encode()) for name in names]
    assert places == sorted(places)
    assert b'"bias"' not in header


def test_the_head_is_told_of_and_so_are_its_bits() -> None:
    found = adapt(model := growing_graph())
    quantized = quantize(model, ExportOptions(head_bits=4), found.head)
    assert {name: weight.bits for name, weight in quantized.items()} == {"mix.0_Q4": 4, "mix.1_Q4": 4, "lm_head_Q4": 4}
    assert quantized["lm_head_Q4"].count == HIDDEN * VOCAB
