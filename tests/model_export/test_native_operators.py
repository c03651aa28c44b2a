"""The structure of a native graph; tests/test_native.py has what it computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from bench.checkpoint import write_checkpoint
from model_export.reading import read_artefact
from tests.configs import CONFIGS
from tests.model_export.helpers import export_to


def graph_of(artefact: Path) -> onnx.GraphProto:
    return onnx.load(artefact / "model.onnx", load_external_data=False).graph


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def nodes(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    return {node.name: node for node in graph.node}


@pytest.fixture(scope="module")
def native(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a native artefact for every configuration."""
    directory = tmp_path_factory.mktemp("native")
    for name in CONFIGS:
        export_to(checkpoints / name, directory / name, kernels="native")
    return directory


@pytest.mark.parametrize("name", CONFIGS)
def test_tensors_lie_where_the_header_says_and_are_aligned(name: str, native: Path) -> None:
    tensors = read_artefact(native / name).tensors
    for tensor in graph_of(native / name).initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if entries:
            stored = tensors[tensor.name]
            assert (int(entries["offset"]), int(entries["length"])) == (stored.offset, stored.nbytes)
            assert stored.offset % 64 == 0


@pytest.mark.parametrize("name", CONFIGS)
def test_scales_are_inside_the_records(name: str, native: Path) -> None:
    assert not [tensor for tensor in read_artefact(native / name).tensors if tensor.endswith("_scale")]


@pytest.mark.parametrize("name", CONFIGS)
def test_every_linear_layer_says_its_size(name: str, native: Path) -> None:
    graph = graph_of(native / name)
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    found = [node for node in graph.node if node.op_type in ("Linear", "Embedding", "Head")]
    assert len(found) == 2 + 4 * 2
    for node in found:
        size = attributes(node)
        groups, across = -(-size["n"] // 16), -(-size["k"] // 64)
        planes = node.op_type == "Head" or (node.op_type == "Embedding" and len(node.input) == 3)
        if size["scale_bits"] == 8:
            assert shapes[node.input[1]] == [groups, 64 + -(-across // 2) * 64 + across * 512]
        else:
            assert shapes[node.input[1]] == [groups, across, {4: 576, 8: 1088}[size["bits"]]]
        if planes:
            assert shapes[node.input[2]] == [groups, across, 512]


def test_a_tied_head_reads_the_embedding_s_tensors(native: Path) -> None:
    found = nodes(graph_of(native / "qwen3"))
    assert list(found["lm_head"].input[1:3]) == list(found["model.embed_tokens"].input[1:3])
    assert attributes(found["lm_head"])["bits"] == 8


def test_a_head_of_8_bits_lets_logits_be_coarse_and_by_default_exact(native: Path) -> None:
    graph = graph_of(native / "qwen3")
    assert nodes(graph)["lm_head"].input[4] == "choices"
    default = next(tensor for tensor in graph.initializer if tensor.name == "choices")
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(default), [[-1, 0, 1, 0]])
    assert "choices" in [value.name for value in graph.input]


def test_a_head_of_4_bits_is_a_linear_layer(checkpoints: Path, tmp_path: Path) -> None:
    graph = graph_of(export_to(checkpoints / "qwen3", tmp_path / "out", kernels="native", head_bits=4))
    assert nodes(graph)["lm_head"].op_type == "Linear"
    assert "choices" not in [value.name for value in graph.input]


@pytest.mark.parametrize(("act", "gated"), [("silu", 1), ("gelu_pytorch_tanh", 2)])
def test_these_activations_are_the_operator_s_own(act: str, gated: int, tmp_path: Path) -> None:
    write_checkpoint({**CONFIGS["qwen2"], "hidden_act": act}, tmp_path / "checkpoint")
    found = nodes(graph_of(export_to(tmp_path / "checkpoint", tmp_path / "out", kernels="native")))
    down = found["model.layers.0.mlp.down_proj"]
    assert attributes(down)["gated"] == gated
    assert down.input[0] == "model.layers.0.mlp.gate_up_proj.output"
    assert "model.layers.0.mlp.act_fn" not in found


@pytest.mark.parametrize("act", ["gelu", "relu"])
def test_other_activations_are_nodes(act: str, tmp_path: Path) -> None:
    write_checkpoint({**CONFIGS["qwen2"], "hidden_act": act}, tmp_path / "checkpoint")
    found = nodes(graph_of(export_to(tmp_path / "checkpoint", tmp_path / "out", kernels="native")))
    assert attributes(found["model.layers.0.mlp.down_proj"])["gated"] == 0
    assert {"model.layers.0.mlp.act_fn", "model.layers.0.mlp.mul"} <= set(found)


def test_biases_are_third_inputs(native: Path) -> None:
    found = nodes(graph_of(native / "llama-biases-linear-rope"))
    for name in ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"):
        assert found[f"model.layers.1.{name}"].input[2] == f"model.layers.1.{name}.bias"
    assert found["lm_head"].op_type == "Head"  # which takes none


def test_norms_of_heads_are_inside_the_attention(native: Path) -> None:
    node = nodes(graph_of(native / "qwen3-padded-heads"))["model.layers.0.self_attn"]
    assert list(node.input)[-3:-1] == [f"model.layers.0.self_attn.{part}_norm.weight" for part in "qk"]
    # Heads of 12 are padded to 16, so their mean is 12/16 of what it was.
    assert attributes(node)["epsilon"] == pytest.approx(1e-5 * 12 / 16)
    assert attributes(node)["scale"] == pytest.approx(12**-0.5)


@pytest.mark.parametrize(("kv_cache", "kind", "element"), [("f16", "AttentionF16", 10), ("int8", "AttentionInt8", 3)])
def test_the_cache_goes_in_and_comes_out(
    kv_cache: str, kind: str, element: int, checkpoints: Path, tmp_path: Path
) -> None:
    out = export_to(checkpoints / "llama-gqa2-bf16", tmp_path / "out", kernels="native", kv_cache=kv_cache)
    graph = graph_of(out)
    node = nodes(graph)["model.layers.1.self_attn"]
    scales = ["key_scale", "value_scale"] if kv_cache == "int8" else []
    parts = ["key", "value", *scales]
    assert node.op_type == kind
    assert list(node.input)[1 : len(parts) + 2] == [*(f"past_key_values.1.{part}" for part in parts), "seqlens_k"]
    assert list(node.output)[1:] == [f"present.1.{part}" for part in parts]
    types = {value.name: value.type.tensor_type for value in (*graph.input, *graph.output)}
    for prefix in ("past_key_values", "present"):
        assert types[f"{prefix}.1.key"].elem_type == element
        assert len(types[f"{prefix}.1.key"].shape.dim) == 4
        for scale in scales:
            assert (types[f"{prefix}.1.{scale}"].elem_type, len(types[f"{prefix}.1.{scale}"].shape.dim)) == (1, 3)


def test_the_domain_is_declared_for_native_graphs_alone(native: Path, checkpoints: Path, tmp_path: Path) -> None:
    def domains(artefact: Path) -> set[str]:
        return {i.domain for i in onnx.load(artefact / "model.onnx", load_external_data=False).opset_import}

    assert domains(native / "qwen2") == {"", "com.microsoft", "firebrick"}
    assert domains(export_to(checkpoints / "qwen2", tmp_path / "stock")) == {"", "com.microsoft"}
