"""What is found out before Terraform runs, and what becomes of its errors."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import image.deploy.__main__ as deploy
from tests.image.aws import moto_server, point_to


def terraform(tmp_path: Path, script: str) -> Path:
    """A stand-in that behaves as the script says; tests/deployment has the real one."""
    program = tmp_path / "terraform"
    program.write_text(f"#!{sys.executable}\nimport sys\n{script}\n")
    program.chmod(0o755)
    return program


def test_without_credentials_nothing_is_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    point_to("http://127.0.0.1:1", monkeypatch, tmp_path, keys=False)
    monkeypatch.setattr(deploy, "find_terraform", lambda: terraform(tmp_path, "print('called')"))
    assert deploy.main(["plan"], {}) == 2
    said = capsys.readouterr()
    assert "no AWS credentials that work" in said.err
    assert said.out == ""


def test_without_terraform_it_says_where_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert deploy.main(["plan"], {}) == 2
    assert "developer.hashicorp.com/terraform/install" in capsys.readouterr().err


def test_a_failure_ends_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    failing = "if 'apply' in sys.argv: sys.exit('RepositoryAlreadyExistsException')"
    monkeypatch.setattr(deploy, "find_terraform", lambda: terraform(tmp_path, failing))
    with moto_server() as endpoint:
        point_to(endpoint, monkeypatch, tmp_path)
        assert deploy.main(["apply", "-auto-approve"], {}) == 2
    said = capfd.readouterr()
    assert "firebrick: apply as arn:aws:" in said.out
    assert "firebrick: terraform apply failed: a name is taken" in said.err


def test_terraform_gets_the_words_that_are_not_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(deploy, "find_terraform", lambda: terraform(tmp_path, "print(sys.argv[1:])"))
    with moto_server() as endpoint:
        point_to(endpoint, monkeypatch, tmp_path)
        assert deploy.main(["plan", "-var-file=examples/worker.tfvars"], {}) == 0
    assert "'plan', '-no-color', '-var-file=examples/worker.tfvars'" in capfd.readouterr().out
