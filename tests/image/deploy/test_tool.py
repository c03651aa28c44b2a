"""Terraform and its provider are found; a wrong environment doesn't stop them."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import pytest

from image.deploy.tool import ARCHITECTURES, environment, find_terraform, init, provider_root, provider_version
from image.errors import CommandFailed, ToolMissing


def program(directory: Path, name: str, script: str) -> Path:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def unpacked(root: Path, version: str, system: str = sys.platform) -> Path:
    machine = ARCHITECTURES.get(platform.machine(), platform.machine())
    (root / f"registry.terraform.io/hashicorp/aws/{version}/{system}_{machine}").mkdir(parents=True)
    return root


def test_terraform_is_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = program(tmp_path, "terraform", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_terraform() == there


def test_without_terraform_the_error_says_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match=r"^terraform is missing, .*developer\.hashicorp\.com/terraform/install$"):
        find_terraform()


@pytest.mark.parametrize("between", ["", "plugins", "terraform/plugins"])
def test_the_provider_is_found_below_a_root(tmp_path: Path, between: str) -> None:
    root = unpacked(tmp_path / between, provider_version())
    assert provider_root([str(tmp_path / "missing"), str(tmp_path)]) == root


def test_a_root_may_be_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    root = unpacked(tmp_path / ".terraform.d" / "plugins", provider_version())
    assert provider_root(["~/.terraform.d"]) == root


@pytest.mark.parametrize(("version", "system"), [("0.0.1", sys.platform), (provider_version(), "plan9")])
def test_another_version_or_platform_is_no_provider(tmp_path: Path, version: str, system: str) -> None:
    unpacked(tmp_path, version, system)
    assert provider_root([str(tmp_path)]) is None


def test_folders_far_below_are_not_walked(tmp_path: Path) -> None:
    unpacked(tmp_path / "a/b/c", provider_version())
    assert provider_root([str(tmp_path)]) is None


def test_a_configuration_file_that_is_missing_is_dropped(tmp_path: Path) -> None:
    given = {"TF_CLI_CONFIG_FILE": str(tmp_path / "missing"), "HOME": "/home/me"}
    assert environment(given) == {"HOME": "/home/me", "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}


def test_a_configuration_file_that_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "terraformrc"
    path.touch()
    assert environment({"TF_CLI_CONFIG_FILE": str(path)})["TF_CLI_CONFIG_FILE"] == str(path)


def test_init_runs_in_the_directory_without_asking(tmp_path: Path) -> None:
    terraform = program(tmp_path, "terraform", 'echo "$@" > said; echo "$TF_IN_AUTOMATION" >> said')
    there = tmp_path / "configuration"
    there.mkdir()
    init(terraform, there, os.environ)
    arguments, automation = (there / "said").read_text().splitlines()
    assert arguments.startswith("init -input=false -no-color")
    assert automation == "1"


def test_a_failed_init_ends_in_terraforms_last_line(tmp_path: Path) -> None:
    terraform = program(tmp_path, "terraform", "echo 'Error: a' >&2; echo 'no such provider' >&2; exit 3")
    with pytest.raises(CommandFailed, match=r"^terraform init failed with exit code 3: no such provider$"):
        init(terraform, tmp_path, os.environ)
