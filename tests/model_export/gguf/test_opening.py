from __future__ import annotations

import contextlib
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.checkpoint import write_checkpoint
from model_export.__main__ import main
from model_export.checkpoint import Checkpoint
from model_export.config import load_config
from model_export.decoder import expected_tensors
from model_export.errors import ArchitectureUnsupported, CheckpointDamaged, CheckpointMismatch, ConfigInvalid
from model_export.export import export
from model_export.options import ExportOptions
from model_export.reading import read_artefact
from model_export.source import Source, resolve
from model_export.verify import verify_logits
from tests.configs import CONFIGS
from tests.model_export.gguf.helpers import write_gguf
from tests.model_export.helpers import tree

Add = Callable[[gguf.GGUFWriter], object]
KV = gguf.GGUFValueType


def source(path: Path) -> Source:
    return resolve(str(path), None)


def opened(path: Path) -> tuple[Source, Checkpoint]:
    found = source(path)
    return found, found.checkpoint(found.decoder()[0])


@pytest.mark.parametrize("name", CONFIGS)
def test_a_file_of_floats_gives_the_artefact_that_the_checkpoint_gives(name: str, tmp_path: Path) -> None:
    write_checkpoint({**CONFIGS[name], "hidden_act": "silu"}, tmp_path / "checkpoint")  # GGUF has no word for others
    options = ExportOptions(quantization="none", name="x")
    export(Source(tmp_path / "checkpoint", "x", None), tmp_path / "theirs", options)
    export(source(write_gguf(tmp_path / "checkpoint", tmp_path / "x.gguf")), tmp_path / "ours", options)
    ours, theirs = tree(tmp_path / "ours"), tree(tmp_path / "theirs")
    # A graph has the architecture's name, which is Llama's for Mistral too.
    for file in ("model.onnx", "model.safetensors", "chat_template.jinja")[name == "mistral" :]:
        assert ours[file] == theirs[file]
    for key, value in json.loads(theirs["firebrick.json"]).items():
        if key not in ("checkpoint_config", "model", "tokenizer", "sampling_defaults"):  # said otherwise, or not at all
            assert json.loads(ours["firebrick.json"])[key] == value


def test_its_artefact_is_quantized_and_verified_like_any_other(checkpoints: Path, tmp_path: Path) -> None:
    path = write_gguf(checkpoints / "llama-gqa2-bf16", tmp_path / "x.gguf", "Q8_0")
    export(source(path), tmp_path / "out", ExportOptions(rounding="search", activations="float32"))
    report = verify_logits(read_artefact(tmp_path / "out"), str(path), None)
    assert report.graph_error < 1e-4
    assert 0 < report.model_error < 0.5


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_each_type_is_near_what_it_was_made_of(kind: str, checkpoints: Path, tmp_path: Path) -> None:
    directory = checkpoints / "llama-gqa2-bf16"
    config = load_config(directory)
    _, ours = opened(write_gguf(directory, tmp_path / "x.gguf", kind))
    theirs = Checkpoint.open(directory, config)
    for name in expected_tensors(config):
        found, expected = ours.read(name), theirs.read(name)
        np.testing.assert_allclose(found, expected, atol=np.abs(expected).max() * (0.15 if "4_" in kind else 0.08))


def test_any_rows_are_those_of_the_whole(checkpoints: Path, tmp_path: Path) -> None:
    _, checkpoint = opened(write_gguf(checkpoints / "llama-gqa2-bf16", tmp_path / "x.gguf", "Q4_0"))
    for name in ("model.layers.0.self_attn.q_proj.weight", "model.layers.1.self_attn.k_proj.weight", "lm_head.weight"):
        whole = checkpoint.read(name)
        for start, stop in ((0, 1), (5, 31), (15, 17), (16, 32)):
            np.testing.assert_array_equal(checkpoint.read(name, start, stop), whole[start:stop])


def test_the_name_is_the_file_s(checkpoints: Path, tmp_path: Path) -> None:
    path = write_gguf(checkpoints / "qwen2", tmp_path / "my model!.Q4.gguf")
    assert source(path).model_id == "my-model-.Q4"


# ---------------------------------------------------------------- what isn't exported


def refused(checkpoints: Path, tmp_path: Path, add: Add, name: str = "llama-mha-tied") -> None:
    found = source(write_gguf(checkpoints / name, tmp_path / "x.gguf", change=add))
    found.checkpoint(found.decoder()[0])


def scaling(kind: gguf.RopeScalingType) -> Add:
    return lambda writer: writer.add_rope_scaling_type(kind)


@pytest.mark.parametrize(
    ("add", "reason"),
    [
        (lambda w: w.add_expert_count(8), "a mixture of experts"),
        (scaling(gguf.RopeScalingType.YARN), r"llama\.rope\.scaling\.type 'yarn'"),
        (lambda w: w.add_tensor("rope_factors_long.weight", np.ones(8, np.float32)), "rope_factors_long.weight"),
        (lambda w: w.add_tensor("rope_freqs.weight", np.linspace(1, 9, 8, dtype=np.float32)), "isn't Llama 3's"),
    ],
)
def test_an_architecture_with_more_than_is_built(add: Add, reason: str, checkpoints: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchitectureUnsupported, match=reason):
        refused(checkpoints, tmp_path, add)


def changed(path: Path, **values: Any) -> Path:
    """Write a file of nothing but metadata."""
    writer = gguf.GGUFWriter(path, values.pop("architecture", "llama"))
    for key, value in values.items():
        writer.add_key_value(key.replace("__", "."), value, KV.get_type(value))
    writer.add_tensor("token_embd.weight", np.zeros((3, 8), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


SHAPE: dict[str, Any] = {
    "llama__embedding_length": 8,
    "llama__attention__head_count": 2,
    "llama__feed_forward_length": 16,
    "llama__block_count": 1,
    "llama__context_length": 64,
}


@pytest.mark.parametrize("key", SHAPE)
def test_a_missing_key_is_named(key: str, tmp_path: Path) -> None:
    values = {k: v for k, v in SHAPE.items() if k != key}
    with pytest.raises(ConfigInvalid, match=f"lacks {key.replace('__', '.')}"):
        source(changed(tmp_path / "x.gguf", **values))


@pytest.mark.parametrize("value", ["8", True, -1, 0, 1.5, [8, 9]])
def test_a_wrong_value_is_named(value: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"x\.gguf: llama\.block_count is .*: expected an integer"):
        source(changed(tmp_path / "x.gguf", **{**SHAPE, "llama__block_count": value}))


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArchitectureUnsupported, match="architecture 'mamba' isn't supported; these are: llama, qwen2"):
        source(changed(tmp_path / "x.gguf", architecture="mamba"))


def test_partial_rotation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchitectureUnsupported, match=r"llama\.rope\.dimension_count is 2 with keys of 4"):
        source(changed(tmp_path / "x.gguf", **SHAPE, llama__rope__dimension_count=2))


def test_a_tensor_that_nobody_knows(checkpoints: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointMismatch, match=r"blk\.0\.attn_sinks\.weight in the checkpoint"):
        refused(checkpoints, tmp_path, lambda w: w.add_tensor("blk.0.attn_sinks.weight", np.ones(4, np.float32)))


def test_values_that_are_no_numbers_are_named(checkpoints: Path, tmp_path: Path) -> None:
    path = write_gguf(checkpoints / "llama-mha-tied", tmp_path / "x.gguf", "Q4_0")
    found, checkpoint = opened(path)
    assert found.tensors is not None
    placed = found.tensors["model.layers.0.mlp.up_proj.weight"].placed  # type: ignore[attr-defined]
    content = bytearray(path.read_bytes())
    content[placed.info.offset : placed.info.offset + 2] = struct.pack("<e", float("nan"))
    path.write_bytes(content)
    with pytest.raises(CheckpointDamaged, match=r"up_proj\.weight holds NaN or infinity in rows 0 to 3"):
        checkpoint.read("model.layers.0.mlp.up_proj.weight", 0, 4)
    path.unlink()
    with pytest.raises(CheckpointDamaged, match="can't be read"):
        checkpoint.read("model.layers.0.mlp.up_proj.weight", 0, 4)


# ---------------------------------------------------------------- embeddings, sampling


def test_pooling_and_sampling_come_along(checkpoints: Path, tmp_path: Path) -> None:
    def add(writer: gguf.GGUFWriter) -> None:
        writer.add_pooling_type(gguf.PoolingType.LAST)
        writer.add_float32("general.sampling.temp", 0.5)
        writer.add_int32("general.sampling.top_k", 20)

    path = write_gguf(checkpoints / "qwen3", tmp_path / "x.gguf", change=add)
    export(source(path), tmp_path / "out", ExportOptions(quantization="none"))
    found = json.loads((tmp_path / "out" / "firebrick.json").read_text())
    assert found["embeddings"] == {"pooling": "last", "only": False}
    assert found["sampling_defaults"] == {"temperature": 0.5, "top_k": 20}


# ---------------------------------------------------------------- through the command


def run(path: Path) -> tuple[int, str]:
    """Export; gives the exit code and what was said on stderr."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main([str(path), "--out", str(path.parent / "out"), "--threads", "1", "--rounding", "nearest"])
    return code, said.getvalue()


@pytest.fixture(scope="module")
def to_damage(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    directory = tmp_path_factory.mktemp("fuzz")
    config = {**CONFIGS["llama-gqa8-llama3-rope"], "num_hidden_layers": 1, "intermediate_size": 32, "hidden_size": 32}
    write_checkpoint(config, directory / "checkpoint")
    path = write_gguf(directory / "checkpoint", directory / "x.gguf", "Q8_0")
    return path, path.read_bytes()


@settings(max_examples=100)
@given(data=st.data())
def test_bytes_changed_anywhere_give_one_clear_line(data: st.DataObject, to_damage: tuple[Path, bytes]) -> None:
    path, whole = to_damage
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        # Mostly in the metadata, which is a small part of the file.
        last = data.draw(st.sampled_from([300, 1200, 20_000, len(content) - 1]))
        content[data.draw(st.integers(4, last))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    code, said = run(path)
    if code:
        assert (code, said[:7], said.count("\n")) == (2, "error: ", 1)
    assert not list(path.parent.glob(".out*"))
