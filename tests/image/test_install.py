"""What the building stages do."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from image.install import difference, main, precompile, prune

ROOT = Path(__file__).parent.parent.parent
ONE = "numpy==2.4.6 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
TWO = "boto3==1.44.5 \\\n    --hash=sha256:cc\n"


def test_difference_keeps_the_hashes_of_what_the_other_set_lacks() -> None:
    assert difference(ONE + TWO, ONE) == TWO


def test_difference_to_nothing_is_everything() -> None:
    assert difference(ONE + TWO, "") == ONE + TWO


def test_sets_that_pin_differently_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="numpy differently"):
        difference(ONE, ONE.replace("bb", "dd"))


def test_the_worker_adds_to_the_runtime_and_changes_none_of_it() -> None:
    requirements = [(ROOT / "requirements" / f"{name}.txt").read_text() for name in ("worker", "runtime")]
    added = difference(*requirements)
    assert "awslambdaric==" in added
    assert "onnxruntime==" not in added


def test_tests_and_command_lines_are_pruned(tmp_path: Path) -> None:
    superfluous = ("bin/f2py", "numpy/tests/test_x.py", "numpy/lib/libx.a", "numpy/x.pyi")
    for name in (*superfluous, "onnxruntime/capi/libonnxruntime.so.1", "onnxruntime/tools/x.py", "numpy/x.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    prune(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "numpy/x.py"]


def test_byte_code_is_never_compared_with_its_source(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("x = 1\n")
    precompile(tmp_path)
    compiled = Path(importlib.util.cache_from_source(str(tmp_path / "x.py"))).read_bytes()
    assert int.from_bytes(compiled[4:8], "little") == 0b01  # PEP 552: by hash, unchecked


def test_any_user_can_read_what_was_installed_under_any_umask(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir(mode=0o700)
    (tmp_path / "package" / "x.py").touch(0o600)
    precompile(tmp_path)
    assert (tmp_path / "package").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "package" / "x.py").stat().st_mode & 0o777 == 0o644


def test_code_that_does_not_compile_is_one_line_and_exit_code_2(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.py").write_text("x = \n")
    assert main(["code", str(tmp_path), "--site", str(tmp_path)], {}) == 2
    assert "can't be compiled" in capfd.readouterr().err
