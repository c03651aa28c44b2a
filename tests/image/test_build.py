"""The command line, as far as it goes without building."""

from __future__ import annotations

from pathlib import Path

import pytest

from image.build import main


def test_a_directory_that_is_no_artefact_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "nothing")], {}) == 2
    error = capsys.readouterr().err
    assert error.startswith("firebrick: ")
    assert "nothing is no directory: give an artefact made by `make export`" in error
    assert error.count("\n") == 1
