from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.checkpoint import write_checkpoint
from model_export import rope
from model_export.config import load_config, parse_config
from model_export.decoder import decoder, expected_tensors
from model_export.reading import read_artefact
from model_export.stored import StoredWeights
from tests.configs import CONFIGS
from tests.model_export.helpers import (
    Graph,
    artefact_logits,
    artefact_states,
    checkpoint_logits,
    checkpoint_states,
    difference,
    export_to,
    some_ids,
)

# Small numbers of the largest of each feature: grouped heads, padding, biases, scaled rope, normed heads.
BATCHED = ["llama-gqa2-bf16", "llama-padded-heads", "llama-biases-linear-rope", "qwen3-padded-heads"]


@pytest.fixture(scope="module")
def plain(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an artefact in float32 for every configuration."""
    directory = tmp_path_factory.mktemp("plain")
    for name in CONFIGS:
        export_to(checkpoints / name, directory / name, quantization="none")
    return directory


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28 thin layers in Int4."""
    directory = tmp_path_factory.mktemp("deep")
    config = {**CONFIGS["llama-gqa2-bf16"], "num_hidden_layers": 28, "hidden_size": 16, "intermediate_size": 32}
    write_checkpoint(config, directory / "checkpoint")
    return export_to(directory / "checkpoint", directory / "artefact")


def whole(artefact: Path, ids: Any) -> Any:
    return Graph(artefact, positions=len(ids)).run(ids[None, :], [len(ids)])


# ---------------------------------------------------------------- the file


def test_28_layers_stay_under_a_megabyte(deep: Path) -> None:
    assert (deep / "model.onnx").stat().st_size < 1_000_000


def test_no_weights_are_inside(deep: Path) -> None:
    model = onnx.load(deep / "model.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        external = tensor.data_location == onnx.TensorProto.EXTERNAL
        assert external or len(tensor.raw_data) <= 64
    assert not model.functions


def test_external_tensors_lie_where_the_safetensors_header_says(deep: Path) -> None:
    model, tensors = onnx.load(deep / "model.onnx", load_external_data=False), read_artefact(deep).tensors
    for tensor in model.graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if entries:
            stored = tensors[tensor.name.removesuffix(".rows")]
            assert entries["location"] == "model.safetensors"
            assert (int(entries["offset"]), int(entries["length"])) == (stored.offset, stored.nbytes)


def test_every_stored_weight_is_used(deep: Path) -> None:
    model = onnx.load(deep / "model.onnx", load_external_data=False)
    used = {tensor.name.removesuffix(".rows") for tensor in model.graph.initializer}
    assert {name for name in read_artefact(deep).tensors if not name.startswith("padding.")} <= used


@pytest.mark.parametrize("name", CONFIGS)
def test_nodes_are_named_as_in_the_checkpoint(name: str, plain: Path) -> None:
    nodes = {node.name for node in onnx.load(plain / name / "model.onnx", load_external_data=False).graph.node}
    for tensor in expected_tensors(parse_config(CONFIGS[name])):
        module = tensor.rpartition(".")[0]
        for fused, parts in {"qkv": ("q", "k", "v"), "gate_up": ("gate", "up")}.items():
            for part in parts:
                module = module.replace(f".{part}_proj", f".{fused}_proj")
        assert module in nodes


def test_node_names_are_unique(deep: Path) -> None:
    names = [node.name for node in onnx.load(deep / "model.onnx", load_external_data=False).graph.node]
    assert len(set(names)) == len(names)


# ---------------------------------------------------------------- what it computes


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("length", [1, 2, 41])
def test_logits_are_those_of_plain_numpy(name: str, length: int, plain: Path, checkpoints: Path) -> None:
    ids = some_ids(length, CONFIGS[name]["vocab_size"])
    assert difference(whole(plain / name, ids), checkpoint_logits(checkpoints / name, ids)) < 1e-5


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("options", [{"head_bits": 4, "block_size": 16}, {"head_bits": 8, "block_size": 32}])
def test_int4_logits_are_those_of_the_dequantized_weights(
    name: str, options: dict[str, Any], checkpoints: Path, tmp_path: Path
) -> None:
    artefact = export_to(checkpoints / name, tmp_path / name, activations="float32", **options)
    ids = some_ids(33, CONFIGS[name]["vocab_size"])
    assert difference(whole(artefact, ids), artefact_logits(checkpoints / name, artefact, ids)) < 1e-4


def test_int8_activations_stay_near_the_dequantized_weights(checkpoints: Path, tmp_path: Path) -> None:
    checkpoint = checkpoints / "llama-gqa2-bf16"
    artefact = export_to(checkpoint, tmp_path / "int8")
    ids = some_ids(33, 320)
    assert difference(whole(artefact, ids), artefact_logits(checkpoint, artefact, ids)) < 0.05


@pytest.mark.parametrize("act", ["silu", "gelu", "gelu_pytorch_tanh", "relu"])
def test_every_activation(act: str, tmp_path: Path) -> None:
    write_checkpoint({**CONFIGS["llama-gqa2-bf16"], "hidden_act": act, "num_hidden_layers": 1}, tmp_path / "checkpoint")
    artefact = export_to(tmp_path / "checkpoint", tmp_path / "artefact", quantization="none")
    ids = some_ids(9, 320)
    assert difference(whole(artefact, ids), checkpoint_logits(tmp_path / "checkpoint", ids)) < 1e-5


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_any_chunking_is_the_whole(data: st.DataObject, plain: Path) -> None:
    artefact = plain / data.draw(st.sampled_from(sorted(CONFIGS)))
    length = data.draw(st.integers(1, 40))
    ids = some_ids(length, 300, seed=data.draw(st.integers(0, 9)))
    cuts = data.draw(st.sets(st.integers(1, length), max_size=6)) - {length}
    ends = [0, *sorted(cuts), length]
    graph = Graph(artefact, positions=48)
    pieces = [graph.run(ids[None, a:b], [b]) for a, b in itertools.pairwise(ends)]
    assert difference(np.concatenate(pieces), whole(artefact, ids)) < 1e-5


@pytest.mark.parametrize("name", CONFIGS)
def test_token_by_token_is_the_whole(name: str, plain: Path) -> None:
    ids, graph = some_ids(20, 300), Graph(plain / name)
    steps = [graph.run(ids[None, i : i + 1], [i + 1]) for i in range(20)]
    assert difference(np.concatenate(steps), whole(plain / name, ids)) < 1e-5


@pytest.mark.parametrize("name", BATCHED)
def test_sequences_of_different_lengths_do_not_see_each_other(name: str, plain: Path) -> None:
    lengths, longest = [5, 12, 9], 12
    alone = [some_ids(length + 1, 300, seed=length) for length in lengths]
    padded = np.zeros((3, longest), dtype=np.int64)
    for row, ids in zip(padded, alone, strict=True):
        row[: len(ids) - 1] = ids[:-1]
    graph = Graph(plain / name, batch=3, positions=20)
    last = [row * longest + length - 1 for row, length in enumerate(lengths)]
    prefill = graph.run(padded, lengths, last)
    decode = graph.run(np.stack([ids[-1:] for ids in alone]), [length + 1 for length in lengths])
    for after_prefill, after_decode, ids in zip(prefill, decode, alone, strict=True):
        expected = whole(plain / name, ids)
        assert difference(after_prefill, expected[-2]) < 1e-5
        assert difference(after_decode, expected[-1]) < 1e-5


@settings(deadline=None, max_examples=20)
@given(wanted=st.lists(st.integers(0, 11), max_size=6))
def test_logits_come_for_the_positions_asked_for(wanted: list[int], plain: Path) -> None:
    ids = some_ids(12, 300)
    found = Graph(plain / "qwen3").run(ids[None, :], [12], wanted)
    assert found.shape == (len(wanted), 320)
    np.testing.assert_allclose(found, whole(plain / "qwen3", ids)[wanted], atol=1e-5)


def test_positions_beyond_8192_have_their_angles(checkpoints: Path, tmp_path: Path) -> None:
    checkpoint = checkpoints / "llama-gqa8-llama3-rope"
    artefact = StoredWeights(read_artefact(export_to(checkpoint, tmp_path / "long", context=16384)))
    cosines, sines = rope.tables(decoder(load_config(checkpoint)).ropes[0][1], 16384, 16)
    np.testing.assert_array_equal(artefact.weight("model.rotary_emb.cos_cached"), cosines)
    np.testing.assert_array_equal(artefact.weight("model.rotary_emb.sin_cached"), sines)


def test_the_cache_is_rotated_as_far_as_8300(checkpoints: Path, tmp_path: Path) -> None:
    # Only distances count: the same tokens 8,000 places further on, nothing but zeros before them, must give other
    # keys, and these turned back by the same angles must be the first ones.
    checkpoint = checkpoints / "llama-gqa8-llama3-rope"
    artefact = export_to(checkpoint, tmp_path / "long", quantization="none", context=16384)
    ids, far = some_ids(8, 300), 8300
    near, late = Graph(artefact, positions=8), Graph(artefact, positions=far + 8)
    near.run(ids[None, :], [8], [])
    late.run(ids[None, :], [far + 8], [])
    cosines, sines = rope.tables(decoder(load_config(checkpoint)).ropes[0][1], 16384, 16)

    def unrotated(key: Any, start: int) -> Any:
        first, second = np.split(key, 2, axis=-1)
        cos, sin = cosines[start : start + 8], sines[start : start + 8]
        return np.concatenate([first * cos + second * sin, second * cos - first * sin], axis=-1)

    name = "past_key_values.0.key"
    here, there = near.cache[name][0, 0], late.cache[name][0, 0, far : far + 8]
    assert np.abs(here - there).max() > 0.1
    np.testing.assert_allclose(unrotated(there, far), unrotated(here, 0), atol=1e-5)


# ---------------------------------------------------------------- hidden states


@pytest.fixture(scope="module")
def vectors(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an artefact for embeddings, in float32, for every configuration."""
    directory = tmp_path_factory.mktemp("vectors")
    for name in CONFIGS:
        export_to(checkpoints / name, directory / name, quantization="none", embeddings="mean")
    return directory


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("length", [1, 41])
def test_hidden_states_are_those_of_plain_numpy(name: str, length: int, vectors: Path, checkpoints: Path) -> None:
    ids = some_ids(length, 300)
    states = Graph(vectors / name).states(ids[None, :], [length], range(length))
    assert difference(states, checkpoint_states(checkpoints / name, ids)) < 1e-5


def test_int4_hidden_states_are_those_of_the_dequantized_weights(checkpoints: Path, tmp_path: Path) -> None:
    artefact = export_to(checkpoints / "qwen3", tmp_path / "a", activations="float32", embeddings="last")
    ids = some_ids(33, 320)
    states = Graph(artefact).states(ids[None, :], [33], range(33))
    assert difference(states, artefact_states(artefact, ids)) < 1e-4


@settings(deadline=None, max_examples=20)
@given(wanted=st.lists(st.integers(0, 11), max_size=6), cut=st.integers(1, 11))
def test_hidden_states_come_for_the_positions_asked_for(wanted: list[int], cut: int, vectors: Path) -> None:
    ids, graph = some_ids(12, 300), Graph(vectors / "qwen3")
    expected = Graph(vectors / "qwen3").states(ids[None, :], [12], range(12))
    before, behind = [at for at in wanted if at < cut], [at for at in wanted if at >= cut]
    first = graph.states(ids[None, :cut], [cut], before)
    second = graph.states(ids[None, cut:], [12], [at - cut for at in behind])
    np.testing.assert_allclose(np.concatenate([first, second]), expected[[*before, *behind]], atol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_who_wants_logits_needs_not_know_of_hidden_states(name: str, vectors: Path, plain: Path) -> None:
    ids = some_ids(9, 300)
    np.testing.assert_array_equal(whole(vectors / name, ids), whole(plain / name, ids))


def test_only_a_graph_for_embeddings_gives_hidden_states(vectors: Path, plain: Path) -> None:
    outputs = [
        {value.name for value in onnx.load(directory / "qwen3" / "model.onnx", load_external_data=False).graph.output}
        for directory in (vectors, plain)
    ]
    assert outputs[0] - outputs[1] == {"hidden_states"}
