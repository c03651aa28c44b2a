from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from model_export import convert as convert_module
from model_export.artefact import sha256
from model_export.convert import convert, main
from model_export.errors import OptionInvalid
from model_export.inspect import describe_directory
from model_export.reading import read_artefact
from model_export.storage import NativeStorage
from model_export.verify import main as verify
from model_export.verify import verify_files
from tests.configs import CONFIGS
from tests.model_export.helpers import export_to, flip_byte, tree

NAME = "qwen3-padded-heads"


@pytest.fixture(scope="module")
def stock(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_to(checkpoints / NAME, tmp_path_factory.mktemp("convert") / "artefact")


@pytest.fixture
def directory(stock: Path, tmp_path: Path) -> Path:
    """An artefact to be converted in its place."""
    return Path(shutil.copytree(stock, tmp_path / "artefact"))


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(a) for a in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].startswith("error: ")
    return captured.err


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(("kv_cache", "head_bits"), [(None, 8), ("int8", 4)])
def test_a_converted_artefact_is_what_an_export_makes(
    name: str, kv_cache: Any, head_bits: int, checkpoints: Path, tmp_path: Path
) -> None:
    checkpoint = checkpoints / name
    native = export_to(checkpoint, tmp_path / "native", kernels="native", kv_cache=kv_cache, head_bits=head_bits)
    stock = export_to(checkpoint, tmp_path / "stock", head_bits=head_bits, scale_bits=8)
    convert(stock, tmp_path / "to-native", "native", kv_cache, threads=2)
    convert(native, tmp_path / "to-stock", "stock", threads=3)
    assert tree(tmp_path / "to-native") == tree(native)
    assert tree(tmp_path / "to-stock") == tree(stock)


def test_there_and_back_in_place_is_the_same_bytes(directory: Path) -> None:
    before = tree(directory)
    convert(directory, directory, "native")
    assert json.loads((directory / "firebrick.json").read_text())["kernels"] == "native"
    verify_files(read_artefact(directory))
    convert(directory, directory, "stock")
    assert tree(directory) == before


def test_slabs_and_threads_make_no_difference(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert(directory, tmp_path / "whole", "native")
    monkeypatch.setattr("model_export.weights.SLAB", 700)
    convert(directory, tmp_path / "slabs", "native", threads=3)
    assert tree(tmp_path / "slabs") == tree(tmp_path / "whole")
    convert(tmp_path / "slabs", tmp_path / "back", "stock", threads=3)
    assert tree(tmp_path / "back") == tree(directory)


def test_only_the_cache_can_be_changed(directory: Path) -> None:
    convert(directory, directory, "native", "int8")
    weights = (directory / "model.safetensors").read_bytes()
    assert read_artefact(directory).description["kv_cache_dtype"] == "int8"
    convert(directory, directory, "native", "f16")
    assert read_artefact(directory).description["kv_cache_dtype"] == "float16"
    assert (directory / "model.safetensors").read_bytes() == weights


def test_the_cache_stays_as_it_is_unless_it_is_chosen(directory: Path) -> None:
    convert(directory, directory, "native", "int8")
    before = tree(directory)
    convert(directory, directory, "native")
    assert tree(directory) == before


def test_a_damaged_artefact_gets_no_new_hash(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip_byte(directory / "model.safetensors", 9000)
    before = tree(directory)
    assert "model.safetensors is damaged" in said(capsys, directory, "--kernels", "native")
    assert tree(directory) == before


def test_an_interrupt_leaves_everything_as_it_was(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    before = tree(directory)
    monkeypatch.setattr(convert_module, "_contents", interrupt)
    assert main([str(directory), "--kernels", "native"]) == 130
    assert capsys.readouterr().err == "interrupted; the output directory is as it was\n"
    assert tree(directory) == before
    assert [path.name for path in directory.parent.iterdir()] == ["artefact"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"quantization": "none"}, "--quantization none"),
        ({"block_size": 64}, "--block-size 64"),
        ({"activations": "float32"}, "--activations float32"),
    ],
)
def test_what_native_kernels_cannot_do_is_refused(
    options: dict[str, Any], words: str, checkpoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = export_to(checkpoints / NAME, tmp_path / "artefact", **options)
    capsys.readouterr()
    error = said(capsys, directory, "--kernels", "native")
    assert f"--kernels native doesn't go with {words}" in error
    assert error.count("\n") == 1


def test_a_stock_artefact_chooses_no_cache(directory: Path) -> None:
    with pytest.raises(OptionInvalid, match="--kv-cache int8 goes with --kernels native"):
        convert(directory, directory, "stock", "int8")


def test_what_is_no_artefact_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "firebrick.json is missing" in said(capsys, tmp_path, "--kernels", "stock")


# ---------------------------------------------------------------- embeddings


@pytest.mark.parametrize("kernels", ["native", "stock"])
def test_an_artefact_becomes_one_for_embeddings_and_back(
    stock: Path, checkpoints: Path, tmp_path: Path, kernels: Any
) -> None:
    exported = export_to(checkpoints / NAME, tmp_path / "exported", kernels=kernels, embeddings="last")
    convert(stock, tmp_path / "vectors", kernels, embeddings="last")
    assert tree(tmp_path / "vectors") == tree(exported)
    convert(tmp_path / "vectors", tmp_path / "text", "stock", embeddings="none")
    assert tree(tmp_path / "text") == tree(stock)


def test_the_command_keeps_what_it_is_not_asked_to_change(directory: Path) -> None:
    assert main([str(directory), "--kernels", "native", "--embeddings", "mean"]) == 0
    assert main([str(directory), "--kv-cache", "f16"]) == 0
    description = json.loads((directory / "firebrick.json").read_text())
    assert (description["kernels"], description["kv_cache_dtype"]) == ("native", "float16")
    assert description["embeddings"] == {"pooling": "mean", "only": False}


# ---------------------------------------------------------------- artefacts of format 1


def older(checkpoint: Path, out: Path) -> Path:
    """An artefact as format 1 had it, of the same values as one that is exported with scales of 16 bits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model_export.artefact.FORMAT_VERSION", 1)
        patch.setattr(NativeStorage, "planes", lambda self, bits: False)
        export_to(checkpoint, out, kernels="native", scale_bits=16)
    description = json.loads((out / "firebrick.json").read_text())
    del description["quantization"]["scale_bits"]
    (out / "firebrick.json").write_text(json.dumps(description))
    manifest = json.loads((out / "manifest.json").read_text())
    digest, size = sha256(out / "firebrick.json"), (out / "firebrick.json").stat().st_size
    manifest["files"]["firebrick.json"] = {"sha256": digest, "size": size}
    (out / "manifest.json").write_text(json.dumps(manifest))
    return out


@pytest.mark.parametrize("name", ["qwen3", "mistral"])
def test_an_older_artefact_becomes_what_an_export_makes(name: str, checkpoints: Path, tmp_path: Path) -> None:
    old = older(checkpoints / name, tmp_path / "old")
    assert not [tensor for tensor in read_artefact(old).tensors if tensor.endswith("_low")]
    convert(old, tmp_path / "new", "native")
    assert tree(tmp_path / "new") == tree(
        export_to(checkpoints / name, tmp_path / "made", kernels="native", scale_bits=16)
    )


def test_an_older_artefact_is_described_and_verified(
    checkpoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = older(checkpoints / "qwen3", tmp_path / "old")
    assert "artefact format 1" in describe_directory(old)
    assert verify([str(old)]) == 0
