from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from handler.artefact import load_artefact
from handler.engine.prefixes import read_prefix
from handler.prefixing import main

MESSAGES = [{"role": "system", "content": "You answer in one short sentence."}]


@pytest.fixture
def directory(demo_artefact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo_artefact, tmp_path / "artefact"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "system.json").write_text(json.dumps(MESSAGES))
    return tmp_path / "system.json"


def test_files_are_numbered_in_their_order(directory: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory.parent / "story.txt").write_text("Once upon a time there was")
    assert main([str(directory), str(file), str(directory.parent / "story.txt")], {}) == 0
    artefact = load_artefact(directory)
    first, second = (read_prefix(directory / f"prefix-{number}.kv", artefact) for number in (1, 2))
    assert len(first.ids) > len(second.ids) > 2
    assert capsys.readouterr().out.splitlines()[0] == (
        f"prefix-1.kv: {len(first.ids)} tokens of {file}, {(directory / 'prefix-1.kv').stat().st_size / 1e6:.1f} MB"
    )


def test_the_same_bytes_wherever_in_the_order(directory: Path, file: Path) -> None:
    main([str(directory), str(file), str(file)], {})
    first, second = ((directory / f"prefix-{number}.kv").read_bytes() for number in (1, 2))
    assert first == second


def test_a_check_needs_neither_weights_nor_manifest_and_writes_nothing(directory: Path, file: Path) -> None:
    for name in ("model.safetensors", "model.onnx", "manifest.json"):
        (directory / name).unlink()
    before = sorted(directory.iterdir())
    assert main([str(directory), str(file), "--check"], {}) == 0
    assert sorted(directory.iterdir()) == before


def test_a_date_is_warned_of(directory: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    template = directory / "chat_template.jinja"
    template.write_text("<|system|>Today is {{ strftime_now('%d %b %Y') }}." + template.read_text())
    assert main([str(directory), str(file), "--check"], {}) == 0
    assert "writes today's date behind" in capsys.readouterr().out


@pytest.mark.parametrize("check", [[], ["--check"]])
def test_a_file_that_is_refused_is_one_line_and_exit_code_2(
    check: list[str], directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(directory), str(directory / "none.json"), *check], {}) == 2
    assert capsys.readouterr().err == (
        f"firebrick: {directory / 'none.json'} can't be a prefix: No such file or directory\n"
    )
    assert not list(directory.glob("prefix-*"))
