"""What `make invoke` learns from Terraform."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import image.deploy.outputs as outputs
from image.deploy.outputs import Outputs, read_outputs
from image.errors import NotDeployed

DEPLOYED = {"url": "https://abc.lambda-url.eu-central-1.on.aws/", "region": "eu-central-1", "images": {"stream": "…"}}


def saying(text: str, tmp_path: Path, code: int = 0) -> Path:
    """A stand-in for Terraform; tests/deployment has the real one."""
    program = tmp_path / "terraform"
    program.write_text(f"#!{sys.executable}\nimport sys\nprint({text!r}, file=sys.stderr if {code} else sys.stdout)\n")
    program.write_text(program.read_text() + f"sys.exit({code})\n")
    program.chmod(0o755)
    return program


def test_url_region_and_the_keys_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = {name: {"value": value} for name, value in {**DEPLOYED, "api_key_secret": "firebrick/api-key"}.items()}
    monkeypatch.setattr(outputs, "find_terraform", lambda: saying(json.dumps(values), tmp_path))
    assert read_outputs({}) == Outputs(str(DEPLOYED["url"]), "eu-central-1", "firebrick/api-key")


def test_terraform_leaves_out_what_is_null(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = {name: {"value": value} for name, value in DEPLOYED.items()}
    monkeypatch.setattr(outputs, "find_terraform", lambda: saying(json.dumps(values), tmp_path))
    assert read_outputs({}).api_key_secret is None


@pytest.mark.parametrize(("text", "code"), [("{}", 0), ("Error: Backend initialization required", 1)])
def test_nothing_deployed_says_what_to_do(
    text: str, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(outputs, "find_terraform", lambda: saying(text, tmp_path, code))
    with pytest.raises(NotDeployed, match="make deploy"):
        read_outputs({})
