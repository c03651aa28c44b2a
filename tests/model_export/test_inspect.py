from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from model_export.checkpoint import expected_tensors
from model_export.config import parse_config
from model_export.errors import ArtefactInvalid
from model_export.inspect import describe_directory, main, summary
from model_export.reading import read_artefact
from tests.configs import CONFIGS
from tests.model_export.helpers import edit_json, export_to


@pytest.fixture
def directory(checkpoint: Path, tmp_path: Path) -> Path:
    return export_to(checkpoint, tmp_path / "artefact", head_bits=8, block_size=32)


def test_bits_per_weight_by_hand(directory: Path) -> None:
    embedding = 320 * 64
    linears = 2 * (3 * 64 * 64 + 64 * 64 + 2 * 160 * 64 + 64 * 160)
    norms = 5 * 64
    # A scale of 32 bits for 32 weights is one bit each.
    bits = embedding * (8 + 1) + linears * (4 + 1) + norms * 32
    found = summary(read_artefact(directory))
    assert found["parameters"] == embedding + linears + norms
    assert found["bits_per_weight"] == pytest.approx(bits / (embedding + linears + norms), abs=1e-3)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("quantization", ["int4", "none"])
def test_parameters_are_the_checkpoint_s(name: str, quantization: str, checkpoints: Path, tmp_path: Path) -> None:
    directory = export_to(checkpoints / name, tmp_path / "artefact", quantization=quantization, block_size=64)
    count = 0
    for shape in expected_tensors(parse_config(CONFIGS[name])).values():
        count += shape[0] * (shape[1] if len(shape) == 2 else 1)
    assert summary(read_artefact(directory))["parameters"] == count


def test_unquantized_weights_have_32_bits(checkpoint: Path, tmp_path: Path) -> None:
    directory = export_to(checkpoint, tmp_path / "artefact", quantization="none")
    assert summary(read_artefact(directory))["bits_per_weight"] == 32


def test_the_cache_of_a_token(directory: Path) -> None:
    # Keys and values in float32 of 2 layers, 4 heads of 16.
    assert summary(read_artefact(directory))["kv_cache_bytes_per_token"] == 2 * 4 * 2 * 4 * 16


@pytest.mark.parametrize(("kv_cache", "bytes_each"), [("f16", 2 * 16), ("int8", 16 + 4)])
def test_the_native_cache_of_a_token(kv_cache: str, bytes_each: int, checkpoint: Path, tmp_path: Path) -> None:
    directory = export_to(checkpoint, tmp_path / "native", kernels="native", kv_cache=kv_cache)
    assert summary(read_artefact(directory))["kv_cache_bytes_per_token"] == 2 * 2 * 4 * bytes_each


@pytest.mark.parametrize("scale_bits", [8, 16])
def test_native_weights_by_hand(scale_bits: int, checkpoint: Path, tmp_path: Path) -> None:
    def nbytes(n: int, k: int) -> int:
        across = -(-k // 64)
        lines = across * 9 if scale_bits == 16 else 1 + -(-across // 2) + across * 8
        return n // 16 * 64 * lines

    linears = 2 * (nbytes(192, 64) + nbytes(64, 64) + nbytes(320, 64) + nbytes(64, 160))
    low_and_spread = 320 * (64 // 2 + 4)
    bits = 8 * (nbytes(320, 64) + low_and_spread + linears + 5 * 64 * 4)
    count = 320 * 64 + 2 * (256 * 64 + 3 * 160 * 64) + 5 * 64
    directory = export_to(checkpoint, tmp_path / "native", kernels="native", scale_bits=scale_bits)
    assert summary(read_artefact(directory))["bits_per_weight"] == pytest.approx(bits / count, abs=1e-3)


def test_files_have_their_sizes(directory: Path) -> None:
    files = summary(read_artefact(directory))["files"]
    assert files["model.safetensors"] == (directory / "model.safetensors").stat().st_size
    assert len(files) == 7


def test_a_description_for_people(directory: Path) -> None:
    text = describe_directory(directory)
    assert text.startswith("checkpoint (llama), artefact format 2\n")
    for words in (
        "int4 (search, blocks of 32, embedding and head 8 bits, 1 weights of 9 in 8 bits, int8 activations)",
        "4 heads over 4 of 16",
    ):
        assert words in text
    total = sum(path.stat().st_size for path in directory.iterdir())
    assert text.splitlines()[-1].strip() == f"{total:,}  bytes in all"


def test_figures_for_programs(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(directory), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"] == summary(read_artefact(directory))["parameters"]
    assert found["context_length"] == 512


@pytest.mark.parametrize("key", ["model", "quantization", "checkpoint_config", "context_length", "head_dim"])
@pytest.mark.parametrize("value", [..., None, "x", []])
def test_a_description_without_its_parts_is_no_artefact(key: str, value: Any, directory: Path) -> None:
    edit_json(directory / "firebrick.json", **{key: value})
    with pytest.raises(ArtefactInvalid, match=rf"firebrick\.json.*{key}"):
        describe_directory(directory)


@pytest.mark.parametrize(
    ("part", "key"), [("model", "id"), ("quantization", "block_size"), ("checkpoint_config", "vocab_size")]
)
def test_a_part_without_its_keys_is_no_artefact(part: str, key: str, directory: Path) -> None:
    description = json.loads((directory / "firebrick.json").read_text())
    del description[part][key]
    (directory / "firebrick.json").write_text(json.dumps(description))
    with pytest.raises(ArtefactInvalid, match=rf"firebrick\.json.*{key}"):
        describe_directory(directory)


@pytest.mark.parametrize("files", [..., [], {"model.onnx": 5}, {"model.onnx": {"sha256": 5, "size": 1}}])
def test_a_manifest_without_its_entries_is_no_artefact(files: Any, directory: Path) -> None:
    edit_json(directory / "manifest.json", files=files)
    with pytest.raises(ArtefactInvalid, match=r"manifest\.json"):
        describe_directory(directory)


@pytest.mark.parametrize("name", ["firebrick.json", "manifest.json"])
@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"null"])
def test_files_that_are_no_json_objects(name: str, content: bytes, directory: Path) -> None:
    (directory / name).write_bytes(content)
    with pytest.raises(ArtefactInvalid, match=name.replace(".", r"\.")):
        describe_directory(directory)
