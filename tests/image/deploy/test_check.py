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


def clone(tmp_path: Path) -> Path:
    directory = tmp_path / "clone" / "terraform"
    (directory / "examples").mkdir(parents=True)
    (tmp_path / "clone" / "Dockerfile").write_text("FROM scratch")
    for name in ("main.tf", "examples/a.tfvars", "terraform.tfvars", "me.auto.tfvars", "terraform.tfstate"):
        (directory / name).touch()
    return directory


def test_nothing_of_somebodys_deployment_is_checked(tmp_path: Path) -> None:
    with check.copied(clone(tmp_path)) as copy:
        files = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}
        assert files == {"main.tf", "examples/a.tfvars"}
        assert (copy.parent / "Dockerfile").read_text() == "FROM scratch"


def test_neither_values_nor_accounts_of_the_environment_reach_a_check() -> None:
    kept = check.neutral({"HOME": "/me", "TF_VAR_name": "mine", "AWS_PROFILE": "mine", "TF_CLI_ARGS_test": "-verbose"})
    assert kept.keys() == {"HOME", "TF_PLUGIN_CACHE_DIR"}


def terraform_that(tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "terraform"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def test_a_configuration_that_cannot_be_read_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terraform_that(tmp_path, '[ "$1" != fmt ] || { echo "Error: no such block" >&2; exit 2; }', monkeypatch)
    assert check.main([], os.environ) == 2
    assert "fmt failed with exit code 2" in capsys.readouterr().err


@pytest.mark.parametrize(("provider", "code", "said"), [("/here", 2, "init failed"), (None, 0, "!!! THE DEPLOYMENT")])
def test_a_failed_init_is_a_fault_where_the_provider_is_here(
    provider: str | None,
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    terraform_that(tmp_path, '[ "$1" != init ] || { echo "Error: no" >&2; exit 1; }', monkeypatch)
    monkeypatch.setattr(check, "provider_root", lambda: provider and Path(provider))
    assert check.main([], os.environ) == code
    assert said in capsys.readouterr().err


def test_every_skipped_rule_has_a_reason() -> None:
    lines = (DIRECTORY / ".checkov.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        if line.startswith("  - CKV"):
            above = lines[number - 1].strip()
            assert above.startswith(("#", "- CKV")), line
