"""What is checked where not everything can be."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import image.deploy.check as check
from image.deploy.tool import DIRECTORY
from image.errors import CheckFailed


def test_without_terraform_it_says_loudly_that_nothing_was_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert check.main([], {}) == 0
    assert "!!! THE DEPLOYMENT WAS NOT CHECKED: terraform is missing" in capsys.readouterr().err


def test_a_rule_that_is_broken_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkov = tmp_path / "checkov"
    checkov.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('CKV_AWS_1 FAILED')\n")
    checkov.chmod(0o755)
    with pytest.raises(CheckFailed, match="checkov failed with exit code 1"):
        check.check_security(checkov, os.environ, tmp_path)
    assert "CKV_AWS_1 FAILED" in capsys.readouterr().err


def test_a_checkov_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--checkov", "/nowhere/checkov"], {}) == 2
    assert "/nowhere/checkov is missing" in capsys.readouterr().err


def test_every_skipped_rule_has_a_reason() -> None:
    lines = (DIRECTORY / ".checkov.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        if line.startswith("  - CKV"):
            above = lines[number - 1].strip()
            assert above.startswith(("#", "- CKV")), line
