"""Terraform: where it is, with which provider, in which environment."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from image.errors import CommandFailed
from image.tools import require

DIRECTORY = Path(__file__).resolve().parents[2] / "terraform"
INSTALL = "https://developer.hashicorp.com/terraform/install"
# Where people and packages put unpacked providers:
# https://developer.hashicorp.com/terraform/cli/config/config-file#implied-local-mirror-directories
ROOTS = (
    *("~/.terraform.d", "~/.local/share", "/opt"),
    *("/usr/local/share", "/usr/share", "/usr/local/lib", "/usr/lib"),
)
DEPTH = 2  # folders between such a root and the registry's name, as in /usr/share/terraform/plugins
PROVIDER = "registry.terraform.io/hashicorp/aws"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
PIN = re.compile(r'source\s*=\s*"hashicorp/aws"\s+version\s*=\s*"([^"]+)"')
CONFIGURATION = "TF_CLI_CONFIG_FILE"


def find_terraform() -> Path:
    """Where the program is.

    Raises:
        ToolMissing: it isn't installed.
    """
    return Path(require("terraform", "makes the deployment", INSTALL))


def provider_version() -> str:
    """The AWS provider's version that versions.tf asks for."""
    found = PIN.search((DIRECTORY / "versions.tf").read_text())
    assert found, "versions.tf pins the provider"
    return found[1]


def provider_root(roots: Sequence[str] = ROOTS) -> Path | None:
    """Where the AWS provider lies unpacked, in the version of versions.tf and for this machine.

    Args:
        roots: where to look, at most `DEPTH` folders below; `~` is the user's home.

    Returns:
        what `terraform init -plugin-dir` takes: the directory that has registry.terraform.io; None if there is none.
    """
    machine = platform.machine().lower()
    wanted = f"{PROVIDER}/{provider_version()}/{sys.platform}_{ARCHITECTURES.get(machine, machine)}"
    for root in roots:
        for depth in range(DEPTH + 1):
            for found in sorted(Path(root).expanduser().glob("*/" * depth + wanted)):
                return found.parents[len(Path(wanted).parts) - 1]
    return None


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What terraform runs in: what is given, no configuration file that is missing, no hints for people.

    Args:
        environ: of this process.
    """
    missing = CONFIGURATION in environ and not os.path.isfile(environ[CONFIGURATION])
    kept = {key: value for key, value in environ.items() if not (missing and key == CONFIGURATION)}
    return {**kept, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}


def init(terraform: Path, directory: Path, environ: Mapping[str, str]) -> None:
    """Get the provider: the one that lies here, or else the registry's.

    Args:
        terraform: the program.
        directory: with a configuration.
        environ: of this process.

    Raises:
        CommandFailed: terraform can't; its last line says why.
    """
    root = provider_root()
    local = [] if root is None else [f"-plugin-dir={root}"]
    command = [str(terraform), "init", "-input=false", "-no-color", *local]
    done = subprocess.run(command, cwd=directory, env=environment(environ), capture_output=True, text=True)
    if done.returncode:
        raise CommandFailed("terraform init", done.returncode, done.stderr or done.stdout)
