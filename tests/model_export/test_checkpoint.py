from __future__ import annotations

import contextlib
import io
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.checkpoint import write_checkpoint
from model_export.__main__ import main
from model_export.checkpoint import Checkpoint
from model_export.config import load_config, parse_config
from model_export.decoder import expected_tensors
from model_export.errors import CheckpointDamaged, CheckpointMismatch
from tests.configs import CONFIGS
from tests.model_export.helpers import edit_json, export_to, read_safetensors, tree, write_safetensors

Header = dict[str, Any]
NORM = "model.norm.weight"
EMBEDDING = "model.embed_tokens.weight"
INDEX = "model.safetensors.index.json"
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def opened(directory: Path) -> Checkpoint:
    return Checkpoint.open(directory, load_config(directory))


def edit_header(directory: Path, change: Callable[[Header], object], file: str = "model.safetensors") -> None:
    header, data = read_safetensors(directory / file)
    change(header)
    write_safetensors(directory / file, header, data)


def add_tensor(directory: Path, name: str, dtype: str, shape: list[int], content: bytes) -> None:
    header, data = read_safetensors(directory / "model.safetensors")
    header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
    write_safetensors(directory / "model.safetensors", header, data + content)


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    write_checkpoint(CONFIGS["llama-gqa2-bf16"], tmp_path / "sharded", shards=2)
    return tmp_path / "sharded"


@pytest.mark.parametrize("name", CONFIGS)
def test_every_configuration_opens(name: str, checkpoints: Path) -> None:
    checkpoint = opened(checkpoints / name)
    for tensor, shape in expected_tensors(load_config(checkpoints / name)).items():
        assert checkpoint.shape(tensor) == shape


def test_tensors_of_a_biased_llama() -> None:
    tensors = expected_tensors(parse_config(CONFIGS["llama-biases-linear-rope"]))
    assert tensors["model.layers.1.self_attn.q_proj.weight"] == (4 * 24, 64)
    assert tensors["model.layers.1.self_attn.v_proj.bias"] == (2 * 24,)
    assert tensors["model.layers.1.mlp.down_proj.bias"] == (64,)


def test_rows_are_read_in_float32(checkpoints: Path) -> None:
    for name in ("llama-mha-tied", "llama-gqa2-bf16", "llama-padded-heads"):
        checkpoint = opened(checkpoints / name)
        rows = checkpoint.read(EMBEDDING, 5, 9)
        assert (rows.dtype.name, rows.shape[0]) == ("float32", 4)
        np.testing.assert_array_equal(rows, checkpoint.read(EMBEDDING)[5:9])


def test_shards_are_one_checkpoint(sharded: Path, checkpoints: Path) -> None:
    whole, parts = opened(checkpoints / "llama-gqa2-bf16"), opened(sharded)
    for name in expected_tensors(load_config(sharded)):
        np.testing.assert_array_equal(parts.read(name), whole.read(name))


def test_stored_bytes_count_two_for_bfloat16(checkpoints: Path) -> None:
    assert opened(checkpoints / "llama-gqa2-bf16").stored_bytes(NORM) == 64 * 2
    assert opened(checkpoints / "llama-mha-tied").stored_bytes(NORM) == 64 * 4


# ---------------------------------------------------------------- damaged files


def test_no_weights_at_all(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(CheckpointDamaged, match=r"neither model\.safetensors nor model\.safetensors\.index\.json"):
        opened(checkpoint)


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_a_truncated_file(keep: int, checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointDamaged, match=r"model\.safetensors is no whole safetensors file"):
        opened(checkpoint)


def test_a_file_with_more_behind_it(checkpoint: Path) -> None:
    with (checkpoint / "model.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(CheckpointDamaged, match="no whole"):
        opened(checkpoint)


@pytest.mark.parametrize("length", [0, 1, 2**20, 2**31, 2**63, 2**64 - 1])
def test_a_header_length_that_is_wrong(length: int, checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    with pytest.raises(CheckpointDamaged, match="no whole"):
        opened(checkpoint)


@pytest.mark.parametrize("header", [b"{", b"[]", b"\xff" * 8, b"null", b'{"a":1}', b'{"a":{"dtype":"F32"}}'])
def test_a_header_that_is_no_header(header: bytes, checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(CheckpointDamaged, match="no whole"):
        opened(checkpoint)


@pytest.mark.parametrize("offsets", [[0, 256], [1, 257], [256, 0], [-1, 255], [0, 2**62]])
def test_offsets_that_overlap_or_leave_the_file(offsets: list[int], checkpoint: Path) -> None:
    edit_header(checkpoint, lambda h: h[NORM].update(data_offsets=offsets))
    with pytest.raises(CheckpointDamaged, match="no whole"):
        opened(checkpoint)


def test_a_hole_between_tensors(checkpoint: Path) -> None:
    edit_header(checkpoint, lambda h: h.pop(NORM))
    with pytest.raises(CheckpointDamaged, match="no whole"):
        opened(checkpoint)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_named_with_its_rows(dtype: str, value: float, tmp_path: Path) -> None:
    write_checkpoint({**CONFIGS["llama-mha-tied"], "torch_dtype": dtype}, tmp_path)
    header, data = read_safetensors(tmp_path / "model.safetensors")
    start, end = header[EMBEDDING]["data_offsets"]
    size = (end - start) // (320 * 64)
    bits = {
        "bfloat16": struct.pack("<f", value)[2:],
        "float16": struct.pack("<e", value),
        "float32": struct.pack("<f", value),
    }[dtype]
    at = start + (7 * 64 + 3) * size
    write_safetensors(tmp_path / "model.safetensors", header, data[:at] + bits + data[at + size :])
    with pytest.raises(CheckpointDamaged, match=r"embed_tokens\.weight holds NaN or infinity in rows 5 to 9"):
        opened(tmp_path).read(EMBEDDING, 5, 10)


def test_a_file_that_vanishes_while_it_is_read(checkpoint: Path) -> None:
    weights = opened(checkpoint)
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(CheckpointDamaged, match=r"model\.norm\.weight can't be read"):
        weights.read(NORM)


def test_a_missing_shard(sharded: Path) -> None:
    (sharded / SHARDS[1]).unlink()
    with pytest.raises(CheckpointDamaged, match=f"{SHARDS[1]} is missing"):
        opened(sharded)


@pytest.mark.parametrize("weight_map", [..., {}, [], {"a": 1}, None])
def test_an_index_without_a_weight_map(weight_map: Any, sharded: Path) -> None:
    edit_json(sharded / INDEX, weight_map=weight_map)
    with pytest.raises(CheckpointDamaged, match="has no weight_map"):
        opened(sharded)


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/passwd", "a/b", ".", ""])
def test_an_index_that_names_files_elsewhere(name: str, sharded: Path) -> None:
    edit_json(sharded / INDEX, weight_map={NORM: name})
    with pytest.raises(CheckpointDamaged, match=r"outside of the checkpoint|is missing"):
        opened(sharded)


@pytest.mark.parametrize("name", ["x" * 300, "\0"])
def test_an_index_that_names_what_can_be_no_file(name: str, sharded: Path) -> None:
    edit_json(sharded / INDEX, weight_map={NORM: name})
    with pytest.raises(CheckpointDamaged, match="is missing"):
        opened(sharded)


# ---------------------------------------------------------------- whole files that contradict the config


def test_a_tensor_in_two_shards(sharded: Path) -> None:
    header, data = read_safetensors(sharded / SHARDS[1])
    header[EMBEDDING] = {"dtype": "U8", "shape": [1], "data_offsets": [len(data), len(data) + 1]}
    write_safetensors(sharded / SHARDS[1], header, data + b"x")
    with pytest.raises(CheckpointMismatch, match=rf"embed_tokens\.weight is in both {SHARDS[0]} and {SHARDS[1]}"):
        opened(sharded)


def test_an_unknown_tensor(checkpoint: Path) -> None:
    add_tensor(checkpoint, "model.layers.0.self_attn.q_proj.lora_A", "F32", [1], bytes(4))
    with pytest.raises(CheckpointMismatch, match="lora_A in the checkpoint, but LlamaForCausalLM"):
        opened(checkpoint)


def test_a_missing_tensor(checkpoint: Path) -> None:
    edit_header(checkpoint, lambda h: h.update({"lm_head.weight": h.pop(NORM)}))
    with pytest.raises(CheckpointMismatch, match=r"model\.norm\.weight missing"):
        opened(checkpoint)


def test_a_config_with_more_layers_than_the_file(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", num_hidden_layers=3)
    with pytest.raises(CheckpointMismatch, match=r"model\.layers\.2\.input_layernorm\.weight and \d+ more missing"):
        opened(checkpoint)


def test_a_config_with_fewer_layers_than_the_file(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", num_hidden_layers=1)
    with pytest.raises(CheckpointMismatch, match=r"model\.layers\.1\.\S+ and \d+ more in the checkpoint"):
        opened(checkpoint)


def test_a_wrong_shape(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", intermediate_size=161)
    with pytest.raises(CheckpointMismatch, match=r"gate_proj\.weight is \[160, 64\].*implies \[161, 64\]"):
        opened(checkpoint)


@pytest.mark.parametrize(("dtype", "shape"), [("I64", [32]), ("U8", [256]), ("F64", [32]), ("F8_E4M3", [256])])
def test_a_wrong_dtype(dtype: str, shape: list[int], checkpoint: Path) -> None:
    edit_header(checkpoint, lambda h: h[NORM].update(dtype=dtype, shape=shape))
    with pytest.raises(CheckpointMismatch, match=f"norm.weight is {dtype}"):
        opened(checkpoint)


def test_a_tied_model_may_carry_its_head(checkpoint: Path) -> None:
    add_tensor(checkpoint, "lm_head.weight", "F32", [1], bytes(4))
    opened(checkpoint)


def test_rotary_frequencies_of_old_checkpoints_are_ignored(checkpoint: Path) -> None:
    add_tensor(checkpoint, "model.layers.0.self_attn.rotary_emb.inv_freq", "F32", [1], bytes(4))
    opened(checkpoint)


# ---------------------------------------------------------------- through the command


def run(checkpoint: Path, out: Path) -> tuple[int, str]:
    """Export; gives the exit code and what was said on stderr."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main([str(checkpoint), "--out", str(out), "--threads", "1"])
    return code, said.getvalue()


def test_a_damaged_weight_leaves_the_old_artefact(checkpoint: Path, tmp_path: Path) -> None:
    out = export_to(checkpoint, tmp_path / "out")
    before = tree(out)
    header, data = read_safetensors(checkpoint / "model.safetensors")
    write_safetensors(checkpoint / "model.safetensors", header, data[:-4] + struct.pack("<f", float("nan")))
    code, said = run(checkpoint, out)
    assert code == 2
    assert said.startswith("error: ")
    assert tree(out) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint", "out"]


@pytest.fixture(scope="module")
def to_damage(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    directory = tmp_path_factory.mktemp("fuzz") / "checkpoint"
    write_checkpoint({**CONFIGS["llama-mha-tied"], "num_hidden_layers": 1, "intermediate_size": 32}, directory)
    header, data = read_safetensors(directory / "model.safetensors")
    write_safetensors(directory / "model.safetensors", header, data)  # without the header's padding
    return directory, (directory / "model.safetensors").read_bytes()


def check_damaged(to_damage: tuple[Path, bytes], content: bytes) -> None:
    directory, _ = to_damage
    (directory / "model.safetensors").write_bytes(content)
    out = directory.parent / "out"
    code, said = run(directory, out)
    if code == 0:
        shutil.rmtree(out)
    else:
        assert code == 2
        assert said.startswith("error: ")
        assert said.count("\n") == 1
    assert [p.name for p in directory.parent.iterdir()] == ["checkpoint"]


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_bytes_changed_in_the_header_give_one_clear_line(data: st.DataObject, to_damage: tuple[Path, bytes]) -> None:
    content = bytearray(to_damage[1])
    (length,) = struct.unpack("<Q", content[:8])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 7 + length))] = data.draw(st.integers(0, 255))
    check_damaged(to_damage, bytes(content))


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_a_file_cut_anywhere_gives_one_clear_line(data: st.DataObject, to_damage: tuple[Path, bytes]) -> None:
    check_damaged(to_damage, to_damage[1][: data.draw(st.integers(0, len(to_damage[1])))])


VALUES = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=5) | st.lists(st.integers(), max_size=3)
)
PATHS = ("dtype", "shape", "data_offsets")


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_values_changed_in_the_header_give_one_clear_line(data: st.DataObject, to_damage: tuple[Path, bytes]) -> None:
    directory, content = to_damage
    (directory / "model.safetensors").write_bytes(content)
    header, rest = read_safetensors(directory / "model.safetensors")
    name = data.draw(st.sampled_from(sorted(header)))
    key = data.draw(st.sampled_from(PATHS))
    value = data.draw(VALUES | st.sampled_from(["F16", "BF16", "I64", "F8_E5M2"]))
    if data.draw(st.booleans()):
        header[name] = value
    else:
        header[name][key] = value
    write_safetensors(directory / "model.safetensors", header, rest)
    check_damaged(to_damage, (directory / "model.safetensors").read_bytes())
