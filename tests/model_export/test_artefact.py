from __future__ import annotations

import hashlib
import json
import shutil
import types
from pathlib import Path

import pytest

from model_export import artefact
from model_export.artefact import check_output, check_space, sha256, staging, write_json, write_manifest
from model_export.errors import DiskFull, OutputBusy, OutputRefused
from tests.model_export.helpers import tree


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Something that looks like an artefact."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "firebrick.json").write_text("{}")
    (out / "model.onnx").write_text("old")
    return out


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


# ---------------------------------------------------------------- what may be replaced


def test_a_new_directory_is_fine(tmp_path: Path) -> None:
    check_output(tmp_path / "a" / "b")


def test_an_empty_directory_is_fine(tmp_path: Path) -> None:
    check_output(tmp_path)


def test_an_artefact_is_fine(old: Path) -> None:
    check_output(old)


def test_an_artefact_with_the_user_s_own_file_is_refused(old: Path) -> None:
    (old / "notes.txt").touch()
    with pytest.raises(OutputRefused, match=r"not empty and no artefact \(it holds 'notes.txt'\)"):
        check_output(old)


def test_an_artefact_with_prefixes_is_fine(old: Path) -> None:
    (old / "prefix-1.kv").touch()
    (old / "prefix-12.kv").touch()
    check_output(old)


@pytest.mark.parametrize("name", ["prefix-0.kv", "prefix-1.kv.bak", "prefix-a.kv"])
def test_what_is_only_named_alike_is_the_user_s_own(name: str, old: Path) -> None:
    (old / name).touch()
    with pytest.raises(OutputRefused, match=f"it holds '{name}'"):
        check_output(old)


def test_files_of_the_right_names_alone_make_no_artefact(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").touch()
    with pytest.raises(OutputRefused, match=r"it holds 'tokenizer.json'"):
        check_output(tmp_path)


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(OutputRefused, match="out is a file"):
        check_output(tmp_path / "out")


def test_a_directory_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputRefused, match="file is not writable"):
        check_output(tmp_path / "file" / "out")


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputRefused, match="too long"):
        check_output(tmp_path / ("x" * 300))


def test_where_nothing_can_be_made_is_refused() -> None:
    with pytest.raises(OutputRefused, match="can't be made"), staging(Path("/proc/firebrick/out")):
        pass


# ---------------------------------------------------------------- replacing it


def test_the_staged_files_take_the_place_of_nothing(tmp_path: Path) -> None:
    with staging(tmp_path / "new" / "out") as stage:
        (stage / "model.onnx").write_text("new")
    assert tree(tmp_path / "new" / "out") == {"model.onnx": b"new"}
    assert names(tmp_path / "new") == ["out"]


def test_the_staged_files_take_the_place_of_an_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with staging(tmp_path / "out") as stage:
        (stage / "model.onnx").write_text("new")
    assert tree(tmp_path / "out") == {"model.onnx": b"new"}


@pytest.mark.parametrize("can_exchange", [True, False])
def test_the_staged_files_take_the_place_of_the_old_ones(
    can_exchange: bool, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_exchange:
        monkeypatch.setattr(artefact, "_exchange", lambda a, b: False)
    with staging(old) as stage:
        (stage / "firebrick.json").write_text("new")
    assert tree(old) == {"firebrick.json": b"new"}
    assert names(old.parent) == ["out"]


def test_the_old_files_stay_until_the_end(old: Path) -> None:
    with staging(old) as stage:
        (stage / "firebrick.json").write_text("new")
        assert (old / "model.onnx").read_text() == "old"


def test_the_old_files_stay_when_something_fails(old: Path) -> None:
    before = tree(old)
    with pytest.raises(ZeroDivisionError), staging(old) as stage:
        (stage / "firebrick.json").write_text(str(1 / 0))
    assert tree(old) == before
    assert names(old.parent) == ["out"]


def test_the_user_s_file_that_came_meanwhile_is_kept(old: Path) -> None:
    with pytest.raises(OutputRefused, match=r"notes\.txt"), staging(old):
        (old / "notes.txt").touch()
    assert names(old) == ["firebrick.json", "model.onnx", "notes.txt"]


def test_what_a_killed_export_left_is_cleared(old: Path) -> None:
    left = old.parent / ".out.partial"
    (left / "directory").mkdir(parents=True)
    (left / "model.safetensors").touch()
    (left / "link").symlink_to(old)
    with staging(old) as stage:
        assert names(stage) == []
    assert names(old.parent) == ["out"]


def test_what_a_swap_without_exchange_left_is_cleared(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefact, "_exchange", lambda a, b: False)
    old.rename(old.parent / ".out.old")  # killed between its two steps
    with pytest.raises(RuntimeError), staging(old):
        raise RuntimeError
    assert names(old) == ["firebrick.json", "model.onnx"]
    assert names(old.parent) == ["out"]


def test_a_link_keeps_pointing_where_it_does(old: Path) -> None:
    link = old.parent / "link"
    link.symlink_to(old)
    with staging(link) as stage:
        (stage / "firebrick.json").write_text("new")
    assert link.is_symlink()
    assert tree(old) == {"firebrick.json": b"new"}
    assert names(old.parent) == ["link", "out"]


def test_two_at_once_are_refused(old: Path) -> None:
    with staging(old) as stage, pytest.raises(OutputBusy, match="another export is writing"), staging(old):
        pass
    assert not stage.exists()


def test_a_lock_on_a_directory_that_moved_is_no_lock(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Another export swaps its directory in just between our opening and our locking it.
    def lock_late(handle: int, operation: int) -> None:
        (old.parent / ".out.partial").rename(old.parent / "moved")

    monkeypatch.setattr(artefact, "fcntl", types.SimpleNamespace(flock=lock_late, LOCK_EX=0, LOCK_NB=0))
    with pytest.raises(OutputBusy), staging(old):
        pass


@pytest.mark.parametrize("number", [28, 122])
def test_a_full_disk_is_called_so(number: int, old: Path) -> None:
    with pytest.raises(DiskFull, match="no space left for"), staging(old):
        raise OSError(number, "no space")


def test_another_failure_of_the_disk_is_called_so(old: Path) -> None:
    with pytest.raises(OutputRefused, match="Input/output error"), staging(old):
        raise OSError(5, "Input/output error")


def test_too_little_space_is_noticed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=5_000_000))
    check_space(tmp_path, 5_000_000)
    with pytest.raises(DiskFull, match="2,000 MB needed, 5 MB free"):
        check_space(tmp_path, 2_000_000_000)


# ---------------------------------------------------------------- small files


def test_json_is_written_for_people(tmp_path: Path) -> None:
    write_json(tmp_path / "x", {"a": "ü"})
    assert (tmp_path / "x").read_bytes() == '{\n  "a": "ü"\n}\n'.encode()


def test_the_manifest_lists_every_file(old: Path) -> None:
    write_manifest(old, {"model.onnx": "known"})
    manifest = json.loads((old / "manifest.json").read_text())
    assert manifest["format_version"] == 2
    assert manifest["files"] == {
        "firebrick.json": {"sha256": hashlib.sha256(b"{}").hexdigest(), "size": 2},
        "model.onnx": {"sha256": "known", "size": 3},
    }
    assert {"numpy", "onnx", "onnxruntime", "kitoken"} <= manifest["tools"].keys()


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
