from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_export.config import load_config
from model_export.decoder import expected_tensors
from model_export.errors import CheckpointDamaged, CheckpointMismatch
from model_export.gguf.shards import open_model
from model_export.source import resolve
from tests.model_export.gguf.helpers import entry, file, tensor, write_gguf


@pytest.fixture
def parts(checkpoint: Path, tmp_path: Path) -> list[Path]:
    write_gguf(checkpoint, tmp_path / "m.gguf", "Q8_0", split_max_tensors=9)
    return sorted(tmp_path.glob("m-*.gguf"))


def test_several_files_are_one_model(parts: list[Path], checkpoint: Path, tmp_path: Path) -> None:
    assert len(parts) == 3
    whole = write_gguf(checkpoint, tmp_path / "whole.gguf", "Q8_0")
    config = load_config(checkpoint)
    one = resolve(str(whole), None).checkpoint(config)
    for part in parts:
        source = resolve(str(part), None)
        assert source.model_id == "m"
        for name in expected_tensors(config):
            np.testing.assert_array_equal(source.checkpoint(config).read(name), one.read(name))


def test_a_missing_part_is_named(parts: list[Path]) -> None:
    parts[1].unlink()
    with pytest.raises(CheckpointDamaged, match=r"m-00002-of-00003\.gguf is missing"):
        open_model(parts[0])


def test_a_part_under_another_s_name(parts: list[Path]) -> None:
    parts[1].write_bytes(parts[2].read_bytes())
    with pytest.raises(CheckpointDamaged, match="is part 1 of 3 by its name, counted from 0, and part 2 of 3"):
        open_model(parts[0])


def test_a_part_alone(parts: list[Path]) -> None:
    alone = parts[0].rename(parts[0].with_name("alone.gguf"))
    with pytest.raises(CheckpointDamaged, match="part 0 of 1 by its name, counted from 0, and part 0 of 3"):
        open_model(alone)


@pytest.mark.parametrize("name", ["m-00000-of-00003.gguf", "m-00004-of-00003.gguf", "m-00001-of-99999.gguf"])
def test_a_name_that_cannot_be(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointDamaged, match="by its name, which can't be"):
        open_model(tmp_path / name)


def split(number: int) -> list[bytes]:
    return [entry("split.no", "u32", number), entry("split.count", "u32", 2), entry("split.tensors.count", "u32", 2)]


def test_a_tensor_in_two_parts(tmp_path: Path) -> None:
    for number in range(2):
        content = file(split(number), [tensor("t", [2])], bytes(8))
        (tmp_path / f"m-0000{number + 1}-of-00002.gguf").write_bytes(content)
    with pytest.raises(CheckpointMismatch, match=r"t is in both m-00001-of-00002\.gguf and m-00002"):
        open_model(tmp_path / "m-00001-of-00002.gguf")


def test_fewer_tensors_than_announced(tmp_path: Path) -> None:
    for number in range(2):
        content = file(split(number), [tensor("t", [2])][number:], bytes(8))
        (tmp_path / f"m-0000{number + 1}-of-00002.gguf").write_bytes(content)
    with pytest.raises(CheckpointDamaged, match="announces 2 tensors in 2 parts, which have 1"):
        open_model(tmp_path / "m-00001-of-00002.gguf")
