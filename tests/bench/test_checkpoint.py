from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from bench.checkpoint import SHAPES, main, random_tensor, write_checkpoint
from model_export.checkpoint import Checkpoint
from model_export.config import load_config, parse_config
from model_export.decoder import expected_tensors
from model_export.safetensors_file import TensorSpec

TINY = SHAPES["tiny"]


def opened(directory: Path) -> Checkpoint:
    return Checkpoint.open(directory, load_config(directory))


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_it_is_a_checkpoint_in_bfloat16(tmp_path: Path) -> None:
    write_checkpoint(TINY, tmp_path)
    checkpoint = opened(tmp_path)
    assert checkpoint.stored_bytes("model.norm.weight") == 64 * 2
    for name in expected_tensors(load_config(tmp_path)):
        checkpoint.read(name)


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_every_shape_is_one_that_can_be_exported(shape: str) -> None:
    parse_config(SHAPES[shape])


def test_the_real_shapes_have_the_real_sizes() -> None:
    for shape, billions in {"llama-3.2-1b": 1.24, "llama-3.2-3b": 3.21}.items():
        tensors = expected_tensors(parse_config(SHAPES[shape])).values()
        assert sum(int(np.prod(s)) for s in tensors) / 1e9 == pytest.approx(billions, abs=0.01)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_checkpoint(TINY, tmp_path / name, seed=3)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_checkpoint(TINY, tmp_path / str(seed), seed=seed)
    name = "model.layers.1.mlp.down_proj.weight"
    assert not np.array_equal(opened(tmp_path / "0").read(name), opened(tmp_path / "1").read(name))


def test_shards_hold_the_same_tensors(tmp_path: Path) -> None:
    write_checkpoint(TINY, tmp_path / "one")
    write_checkpoint(TINY, tmp_path / "three", shards=3)
    assert len(list((tmp_path / "three").glob("model-*-of-00003.safetensors"))) == 3
    one, three = opened(tmp_path / "one"), opened(tmp_path / "three")
    for name in expected_tensors(load_config(tmp_path / "one")):
        np.testing.assert_array_equal(one.read(name), three.read(name))


def test_a_tensor_is_the_same_in_pieces_of_any_size() -> None:
    spec = TensorSpec("x", "BF16", (10, 8))
    pieces = list(random_tensor(spec, 0, rows=3))
    assert [len(piece) for piece in pieces] == [48, 48, 48, 16]
    assert b"".join(pieces) == b"".join(random_tensor(spec, 0))


def test_norms_are_near_one_and_weights_as_small_as_a_trained_model_s(tmp_path: Path) -> None:
    write_checkpoint(TINY, tmp_path)
    checkpoint = opened(tmp_path)
    assert checkpoint.read("model.norm.weight").mean() == pytest.approx(1, abs=0.1)
    assert checkpoint.read("model.embed_tokens.weight").std() == pytest.approx(64**-0.5, rel=0.05)


def test_the_tokenizer_has_the_right_size_and_reads_any_bytes(tmp_path: Path) -> None:
    write_checkpoint(TINY, tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == 512
    assert sorted(tokenizer.get_vocab().values()) == list(range(512))
    text = "Ünïcödé 🙂 and \x00 bytes"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_a_vocabulary_too_small_for_bytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="at least 261 entries, not 260"):
        write_checkpoint({**TINY, "vocab_size": 260}, tmp_path)


def test_the_command_ends_in_one_line_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--shape", "tiny", "--out", str(tmp_path / "out"), "--seed", "5"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["bytes"] == sum(len(content) for content in contents(tmp_path / "out").values())
    assert (said["shape"], said["seed"]) == ("tiny", 5)


def test_an_empty_directory_is_fine(tmp_path: Path) -> None:
    assert main(["--shape", "tiny", "--out", str(tmp_path)]) == 0


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_is_there_already_is_refused(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" if kind == "file" else tmp_path
    assert main(["--shape", "tiny", "--out", str(out)]) == 2
    assert "choose another" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
