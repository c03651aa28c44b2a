from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.checkpoint import write_checkpoint
from model_export import artefact, export, weights
from model_export.artefact import FILES, staging
from model_export.errors import CheckpointDamaged, DiskFull, ExportError, OptionInvalid, OutputBusy, OutputRefused
from model_export.options import ExportOptions
from model_export.reading import read_artefact
from model_export.source import Source
from model_export.verify import verify_files
from tests.configs import CONFIGS
from tests.conftest import ROOT
from tests.model_export.helpers import edit_json, export_to, tree

NORM_SIZE = 64 * 4


def description(directory: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((directory / "firebrick.json").read_text())
    return value


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


# ---------------------------------------------------------------- what comes out


def test_an_artefact_has_these_files(checkpoint: Path, tmp_path: Path) -> None:
    assert set(names(export_to(checkpoint, tmp_path / "out"))) == FILES


def test_a_base_model_has_no_template(checkpoint: Path, tmp_path: Path) -> None:
    edit_json(checkpoint / "tokenizer_config.json", chat_template=...)
    assert set(names(export_to(checkpoint, tmp_path / "out"))) == FILES - {"chat_template.jinja"}


def test_the_tokenizer_is_the_checkpoint_s(checkpoint: Path, tmp_path: Path) -> None:
    out = export_to(checkpoint, tmp_path / "out")
    assert (out / "tokenizer.json").read_bytes() == (checkpoint / "tokenizer.json").read_bytes()


def test_the_description_says_what_was_chosen(checkpoint: Path, tmp_path: Path) -> None:
    found = description(export_to(checkpoint, tmp_path / "out", block_size=16, head_bits=4, context=100, name="a/b"))
    assert found["model"] == {"id": "a/b", "revision": None, "architecture": "llama"}
    assert found["context_length"] == 100
    assert found["quantization"] == {
        "method": "int4",
        "rounding": "search",
        "bits": 4,
        "head_bits": 4,
        "scale_bits": 16,
        "wide": [],
        "bits_per_weight": 5.0,
        "block_size": 16,
        "activations": "int8",
    }
    assert found["tokenizer"]["prefix_ids"] == [0]
    assert found["tokenizer"]["eos_token_ids"] == [1, 4]
    assert found["sampling_defaults"] == {"temperature": 0.6, "top_p": 0.9}
    assert (found["tool_format"], found["reasoning_format"]) == ("generic", "none")


def test_an_unquantized_artefact_says_so(checkpoint: Path, tmp_path: Path) -> None:
    found = description(export_to(checkpoint, tmp_path / "out", quantization="none"))["quantization"]
    assert (found["method"], found["bits"], found["block_size"], found["activations"]) == (
        "none",
        None,
        None,
        "float32",
    )


def test_heads_are_described_as_they_are_stored(checkpoints: Path, tmp_path: Path) -> None:
    found = description(export_to(checkpoints / "llama-padded-heads", tmp_path / "out"))
    assert (found["head_dim"], found["checkpoint_config"]["head_dim"]) == (32, 20)


def test_the_hub_s_revision_is_recorded(checkpoint: Path, tmp_path: Path) -> None:
    export.export(Source(checkpoint, "owner/name", "abc123"), tmp_path / "out", ExportOptions())
    model = description(tmp_path / "out")["model"]
    assert (model["id"], model["revision"]) == ("owner/name", "abc123")


def test_a_context_beyond_the_model_s_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionInvalid, match="--context 513 is beyond"):
        export_to(checkpoint, tmp_path / "out", context=513)


# ---------------------------------------------------------------- deterministic


@pytest.mark.parametrize("name", ["llama-gqa2-bf16", "qwen3-padded-heads"])
def test_the_same_bytes_every_time(
    name: str, checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tree(export_to(checkpoints / name, tmp_path / "a" / "one", threads=1))
    monkeypatch.setattr(weights, "SLAB", 1000)
    again = tmp_path / "b" / "somewhere" / "two"
    assert tree(export_to(checkpoints / name, again, threads=3)) == first
    assert tree(export_to(checkpoints / name, again, threads=2)) == first


def test_where_the_checkpoint_lies_makes_no_difference(checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "elsewhere" / "checkpoint")
    first = tree(export_to(checkpoint, tmp_path / "a"))
    assert tree(export_to(tmp_path / "elsewhere" / "checkpoint", tmp_path / "b")) == first


def test_shards_make_no_difference(tmp_path: Path) -> None:
    for shards in (1, 3):
        write_checkpoint(CONFIGS["qwen2"], tmp_path / str(shards) / "model", shards=shards)
    first = tree(export_to(tmp_path / "1" / "model", tmp_path / "a"))
    assert tree(export_to(tmp_path / "3" / "model", tmp_path / "b")) == first


# ---------------------------------------------------------------- in the place of what


def test_an_artefact_is_replaced(checkpoint: Path, checkpoints: Path, tmp_path: Path) -> None:
    out = export_to(checkpoint, tmp_path / "out")
    export_to(checkpoints / "qwen2", out)
    assert description(out)["model"]["architecture"] == "qwen2"
    assert names(tmp_path) == ["checkpoint", "out"]


def test_an_artefact_whose_template_is_gone_loses_the_old_one(checkpoint: Path, tmp_path: Path) -> None:
    out = export_to(checkpoint, tmp_path / "out")
    edit_json(checkpoint / "tokenizer_config.json", chat_template=...)
    assert "chat_template.jinja" not in names(export_to(checkpoint, out))
    assert description(out)["tool_format"] is None


def test_another_directory_is_refused_before_any_work(checkpoint: Path) -> None:
    before = tree(checkpoint)
    with pytest.raises(OutputRefused, match="is not empty and no artefact"):
        export_to(checkpoint, checkpoint)
    assert tree(checkpoint) == before


def test_an_artefact_with_a_file_of_the_user_s_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    out = export_to(checkpoint, tmp_path / "out")
    (out / "notes.txt").touch()
    with pytest.raises(OutputRefused, match=r"notes\.txt"):
        export_to(checkpoint, out)
    assert (out / "notes.txt").exists()


def test_two_exports_at_once(checkpoint: Path, tmp_path: Path) -> None:
    with staging(tmp_path / "out"), pytest.raises(OutputBusy):
        export_to(checkpoint, tmp_path / "out")
    export_to(checkpoint, tmp_path / "out")


def test_an_error_in_the_middle_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    content = bytearray((checkpoint / "model.safetensors").read_bytes())
    content[-1] = content[-2] = 0xFF  # NaN
    (checkpoint / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointDamaged, match="NaN"):
        export_to(checkpoint, tmp_path / "out")
    assert names(tmp_path) == ["checkpoint"]


# ---------------------------------------------------------------- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"NOT TESTED: a really full disk needs the right to mount one: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.fixture
def large(checkpoints: Path) -> Path:
    """A checkpoint whose artefact in float32 takes more than 1 MB."""
    return checkpoints / "llama-gqa8-llama3-rope"


def test_a_small_disk_is_noticed_before_the_work(large: Path, small_disk: Path) -> None:
    with pytest.raises(DiskFull, match="MB needed, 1 MB free"):
        export_to(large, small_disk / "out", quantization="none")
    assert names(small_disk) == []


def test_a_disk_that_fills_up_is_noticed_too(large: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefact, "check_space", lambda out, needed: None)
    with pytest.raises(DiskFull, match="no space left for"):
        export_to(large, small_disk / "out", quantization="none")
    assert names(small_disk) == []


@pytest.mark.parametrize("left", [0, 2, 5, 10, 20])
def test_a_disk_that_is_full_from_the_beginning(
    left: int, checkpoint: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artefact, "check_space", lambda out, needed: None)
    (small_disk / "other").write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4096 - left * 4096))
    with pytest.raises(DiskFull, match="no space left for"):
        export_to(checkpoint, small_disk / "out")
    assert names(small_disk) == ["other"]


# ---------------------------------------------------------------- killed


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A checkpoint whose export takes a moment, and its artefact."""
    directory = tmp_path_factory.mktemp("slow")
    config = {**CONFIGS["llama-gqa2-bf16"], "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 4}
    write_checkpoint(config, directory / "checkpoint")
    return directory / "checkpoint", tree(export_to(directory / "checkpoint", directory / "artefact"))


@pytest.mark.parametrize("moment", ["", "tokenizer.kit", "model.safetensors", "manifest.json", "gone"])
def test_a_kill_at_any_moment_leaves_the_old_artefact_whole(
    moment: str, slow: tuple[Path, dict[str, bytes]], checkpoints: Path, tmp_path: Path
) -> None:
    checkpoint, new = slow
    out, stage = tmp_path / "out", tmp_path / ".out.partial"
    before = tree(export_to(checkpoints / "qwen2", out))
    command = [sys.executable, "-m", "model_export", str(checkpoint), "--out", str(out), "--threads", "1"]
    command += ["--rounding", "search", "--kernels", "stock"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (stage / moment).exists() and process.poll() is None and moment != "gone":
        time.sleep(0.0005)
    while moment == "gone" and tree(out) == before and process.poll() is None:
        time.sleep(0.0005)
    process.kill()
    process.wait()
    verify_files(read_artefact(out))
    assert tree(out) in ([new] if moment == "gone" else [before, new])
    export_to(checkpoint, out)
    assert tree(out) == new
    assert names(tmp_path) == ["out"]


# ---------------------------------------------------------------- damaged inputs


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"])
def test_every_small_file_may_be_damaged(name: str, checkpoint: Path, tmp_path: Path) -> None:
    content = (checkpoint / name).read_text()
    (checkpoint / name).write_text(content[: len(content) // 2])
    with pytest.raises(ExportError, match=name.replace(".", r"\.")):
        export_to(checkpoint, tmp_path / "out")
    assert names(tmp_path) == ["checkpoint"]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_directory_in_the_place_of_a_file(name: str, checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / name).unlink()
    (checkpoint / name).mkdir()
    with pytest.raises(ExportError):
        export_to(checkpoint, tmp_path / "out")


def test_a_model_that_is_too_large_for_f16_scales(checkpoint: Path, tmp_path: Path) -> None:
    content = bytearray((checkpoint / "model.safetensors").read_bytes())
    content[-NORM_SIZE - 4 : -NORM_SIZE] = b"\xff\xff\x7f\x7f"  # the largest float32, in the last matrix
    (checkpoint / "model.safetensors").write_bytes(content)
    with pytest.raises(ExportError, match=r"down_proj\.weight holds a weight of 3\.4e\+38, too large for 4 bits"):
        export_to(checkpoint, tmp_path / "out")
