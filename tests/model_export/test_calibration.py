from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from model_export.__main__ import main
from model_export.calibration import WINDOW, WINDOWS, load_windows, window_count
from model_export.config import load_config
from model_export.errors import CalibrationInvalid
from model_export.tokenizer import TokenizerFacts, load_tokenizer, read_facts
from model_export.verify import verify_logits
from tests.conftest import ROOT

LONG = "The quick brown fox jumps over the lazy dog. " * 2000


@pytest.fixture
def model(checkpoint: Path) -> tuple[Tokenizer, TokenizerFacts]:
    tokenizer = load_tokenizer(checkpoint)
    return tokenizer, read_facts(checkpoint, load_config(checkpoint), tokenizer)


def test_the_packages_own_text_is_long_enough(model: tuple[Tokenizer, TokenizerFacts]) -> None:
    ids = load_windows(None, *model, context=512, vocab_size=320)
    assert ids.shape == (WINDOWS, WINDOW)
    assert (ids[:, 0] == 0).all()  # the beginning of text


@pytest.mark.parametrize(("weights", "count"), [(0, 128), (135_000_000, 128), (2_000_000_000, 50), (8_000_000_000, 32)])
def test_large_models_have_fewer_windows(weights: int, count: int) -> None:
    assert window_count(weights) == count


def test_windows_are_no_longer_than_the_context(model: tuple[Tokenizer, TokenizerFacts]) -> None:
    assert load_windows(None, *model, context=20, vocab_size=320).shape == (WINDOWS, 20)


def test_messages_are_written_in_the_models_own_form(model: tuple[Tokenizer, TokenizerFacts], tmp_path: Path) -> None:
    file = tmp_path / "chats.jsonl"
    file.write_text('{"messages": [{"role": "user", "content": "hello there"}]}\n' * 2000)
    ids = load_windows(file, *model, context=512, vocab_size=320)
    assert {2, 3, 4} <= set(ids.reshape(-1).tolist())  # the template's special tokens


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "is empty"),
        ("a.txt", b"  \n\n ", "is empty"),
        ("a.txt", b"too short", "needs at least"),
        ("a.txt", b"\xff\xfe\x00binary", "can't be read as UTF-8"),
        ("a.pdf", LONG.encode(), "expected a .txt or .jsonl"),
        ("a.jsonl", b'{"text": "fine"}\n{"text": ', "line 2 is no JSON"),
        ("a.jsonl", b'{"prompt": "x"}', "line 1: expected"),
        ("a.jsonl", b'{"messages": [{"role": "user"}]}', "line 1: expected"),
        ("a.jsonl", b'{"text": "\\ud800"}', "line 1 is no JSON text"),
        ("missing.txt", None, "no such file"),
    ],
)
def test_a_text_that_is_no_use_is_refused(
    model: tuple[Tokenizer, TokenizerFacts], tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CalibrationInvalid, match=message):
        load_windows(file, *model, context=512, vocab_size=320)


def test_a_bad_text_leaves_no_artefact_behind(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.txt").touch()
    out = tmp_path / "out"
    arguments = ["--rounding", "calibrated", "--calibration", str(tmp_path / "empty.txt")]
    assert main([str(checkpoint), "--out", str(out), *arguments]) == 2
    assert "is empty" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint", "empty.txt"]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_calibrated_export_is_the_same_every_time(checkpoint: Path, tmp_path: Path, threads: int) -> None:
    for name in ("first", "second"):
        count = "1" if name == "first" else str(threads)
        assert (
            main([str(checkpoint), "--out", str(tmp_path / name), "--rounding", "calibrated", "--threads", count]) == 0
        )
    first, second = (tmp_path / n / "model.safetensors" for n in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_calibrating_brings_the_demo_model_nearer_to_itself(tmp_path: Path) -> None:
    from model_export.reading import read_artefact

    divergence = {}
    model = str(ROOT / "demo" / "checkpoint")
    for rounding in ("nearest", "search", "calibrated"):
        out = tmp_path / rounding
        assert main([model, "--out", str(out), "--rounding", rounding, "--activations", "float32"]) == 0
        divergence[rounding] = verify_logits(read_artefact(out), model, None).kl_mean
    assert divergence["calibrated"] < divergence["nearest"]
    assert np.isfinite(list(divergence.values())).all()
