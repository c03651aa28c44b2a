from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from handler.artefact import load_artefact
from model_export import prefixes
from model_export.__main__ import main as export_main
from model_export.artefact import state_directory
from model_export.convert import convert
from model_export.convert import main as convert_main
from model_export.errors import ArtefactInvalid, PrefixFailed, PrefixRefused, VerificationFailed
from model_export.inspect import describe_directory, summary
from model_export.prefixes import cache_key, verify_prefixes
from model_export.reading import read_artefact
from model_export.verify import main as verify_main
from tests.conftest import ROOT
from tests.kernels.models import needs_library
from tests.model_export.helpers import export_to, flip_byte, tree
from tests.server import Server

SYSTEM = {"role": "system", "content": "You are a careful assistant. You answer in short sentences, and never lie."}
QUESTION = {"role": "user", "content": "What is 347 + 285?"}
TEXT = "Once upon a time there was a little girl who lived near the sea."


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    directory = tmp_path_factory.mktemp("prompts")
    (directory / "system.json").write_text(json.dumps([SYSTEM]))
    (directory / "story.txt").write_text(TEXT)
    return [directory / "system.json", directory / "story.txt"]


@pytest.fixture(scope="module")
def original(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model, which knows two prompts."""
    out = tmp_path_factory.mktemp("prefixes") / "artefact"
    chosen = ["--rounding", "search", "--kernels", "stock", "--name", "demo"]
    options = [word for path in files for word in ("--prefix", str(path))]
    assert export_main([str(ROOT / "demo" / "checkpoint"), "--out", str(out), *chosen, *options]) == 0
    return out


@pytest.fixture
def directory(original: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copytree(original, tmp_path / "artefact"))


def tokens(directory: Path) -> list[int]:
    found: list[int] = summary(read_artefact(directory))["prefixes"]
    return found


def asked(server: Server) -> tuple[str, int, int]:
    """The answer to the question, the tokens of its prompt, and how many were known."""
    with server.client() as client:
        messages: Any = [SYSTEM, QUESTION]
        answer = client.chat.completions.create(model=server.model, messages=messages, temperature=0, max_tokens=20)
        usage = answer.usage
        assert usage is not None
        assert usage.prompt_tokens_details is not None
        return (
            str(answer.choices[0].message.content),
            usage.prompt_tokens,
            usage.prompt_tokens_details.cached_tokens or 0,
        )


@needs_library
@pytest.mark.parametrize("kernels", ["stock", "native"])
def test_the_first_request_begins_where_the_prefix_ends(
    kernels: Any, original: Path, files: list[Path], tmp_path: Path
) -> None:
    directory = original
    if kernels == "native":
        directory = tmp_path / "native"
        convert(original, directory, "native", "int8", prefix_files=files)
    server, without = Server(directory), Server(directory, FIREBRICK_PREFIX_CACHE="0")
    assert (server.ready["prefixes"], without.ready["prefixes"]) == (tokens(directory), [])
    (text, prompt, cached), (same, _, none) = asked(server), asked(without)
    assert (text, cached, none) == (same, tokens(directory)[0], 0)
    assert prompt - cached < 20
    with server.client() as client:
        usage = client.completions.create(model=server.model, prompt=TEXT + " She", max_tokens=1).usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == tokens(directory)[1]
    assert server.end() == without.end() == (0, "")


def test_all_is_listed_verified_and_described(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {"prefix-1.kv", "prefix-2.kv"} <= json.loads((directory / "manifest.json").read_text())["files"].keys()
    first, second = tokens(directory)
    assert verify_main([str(directory)]) == 0
    assert f"prefixes   ok, 2 of {first}, {second} tokens" in capsys.readouterr().out
    assert f"prefixes   of {first}, {second} tokens" in describe_directory(directory)


def test_the_same_files_give_the_same_bytes(original: Path, files: list[Path], tmp_path: Path) -> None:
    convert(original, tmp_path / "again", "stock", prefix_files=files)
    assert tree(tmp_path / "again") == tree(original)


def test_both_halves_know_the_same_key(original: Path) -> None:
    assert cache_key(read_artefact(original).manifest) == load_artefact(original).cache_key


def test_an_artefact_with_prefixes_is_replaced(directory: Path, checkpoint: Path) -> None:
    assert "prefix-1.kv" not in tree(export_to(checkpoint, directory))


# ---------------------------------------------------------------- convert


def test_converting_leaves_prefixes_out_and_says_so(
    directory: Path, original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert_main([str(original), "--kernels", "native", "--out", str(tmp_path / "native")]) == 0
    assert "left out 2 prefixes of" in capsys.readouterr().err
    assert tokens(tmp_path / "native") == []
    assert verify_main([str(tmp_path / "native")]) == 0


def test_converting_can_compute_others(directory: Path, files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    _, second = tokens(directory)
    assert convert_main([str(directory), "--kernels", "stock", "--prefix", str(files[1])]) == 0
    assert "left out" not in capsys.readouterr().err
    assert tokens(directory) == [second]
    assert verify_main([str(directory)]) == 0


# ---------------------------------------------------------------- what is refused


def test_a_file_that_is_refused_leaves_everything_as_it_was(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, beside = tree(directory), sorted(directory.parent.iterdir())
    wrong = directory.parent / "wrong.json"
    command = [str(ROOT / "demo" / "checkpoint"), "--out", str(directory), "--rounding", "search"]
    assert export_main([*command, "--prefix", str(wrong)]) == 2
    assert capsys.readouterr().err == f"error: --prefix: {wrong} can't be a prefix: No such file or directory\n"
    assert tree(directory) == before
    assert sorted(directory.parent.iterdir()) == beside


def test_it_is_refused_before_the_work(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    monkeypatch.setattr("model_export.export.graph", None)  # the first part of the work
    (tmp_path / "wrong.json").write_text("[")
    with pytest.raises(PrefixRefused, match="it is no JSON"):
        export_to(checkpoint, tmp_path / "out", prefixes=(files[0], tmp_path / "wrong.json"))
    assert not (tmp_path / "out").exists()


def test_a_process_that_fails_is_one_error(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    monkeypatch.setattr(prefixes, "COMMAND", (sys.executable, "-c", "raise MemoryError('none left')"))
    with pytest.raises(PrefixFailed, match="--prefix: the engine failed: MemoryError: none left"):
        export_to(checkpoint, tmp_path / "out", prefixes=tuple(files))
    assert not (tmp_path / "out").exists()


def test_what_was_calibrated_outlives_a_prefix_that_cannot_be_computed(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    out = tmp_path / "out"
    only_checks = "import sys; sys.exit('--check' not in sys.argv)"
    monkeypatch.setattr(prefixes, "COMMAND", (sys.executable, "-c", only_checks))
    with pytest.raises(PrefixFailed, match="exit code 1"):
        export_to(checkpoint, out, rounding="calibrated", prefixes=tuple(files))
    assert list(state_directory(out).iterdir())
    assert not out.exists()


def test_kernels_that_are_not_there_are_told(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, original: Path
) -> None:
    monkeypatch.setenv("FIREBRICK_KERNELS", str(tmp_path / "none.so"))
    with pytest.raises(PrefixRefused, match=r"none\.so is missing"):
        convert(original, tmp_path / "out", "native", prefix_files=files)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["prefix-1.kv", "prefix-2.kv"])
def test_a_flipped_byte_is_found(name: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip_byte(directory / name, 5000)
    assert verify_main([str(directory)]) == 2
    assert f"{name} is damaged" in capsys.readouterr().err


def test_another_models_prefix_is_found(directory: Path) -> None:
    path = directory / "prefix-1.kv"
    key = cache_key(read_artefact(directory).manifest).encode()
    path.write_bytes(path.read_bytes().replace(key, b"0" * 64))
    with pytest.raises(VerificationFailed, match=r"prefix-1\.kv was computed with another graph or weights"):
        verify_prefixes(read_artefact(directory))


@pytest.mark.parametrize("content", [b"", b"text", b"\x02\0\0\0\0\0\0\0{}"])
def test_a_file_that_is_no_prefix_is_found(content: bytes, directory: Path) -> None:
    (directory / "prefix-1.kv").write_bytes(content)
    with pytest.raises(ArtefactInvalid, match=r"prefix-1\.kv"):
        describe_directory(directory)
