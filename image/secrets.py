"""What pip needs to know of this host to reach an index; mounted while an image is built, in none of its layers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PASSED = ("index-url", "extra-index-url", "trusted-host", "timeout", "retries", "proxy", "default-timeout")
AUTHORITIES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def write_secrets(directory: Path, environ: Mapping[str, str] = os.environ) -> dict[str, Path]:
    """Write what pip is told on this host, by its files or its variables.

    Args:
        directory: for files that only this user can read.
        environ: the environment.

    Returns:
        secret id → file; nothing for a host that has nothing to say.
    """
    secrets: dict[str, Path] = {}
    options = {key: value for key, value in pip_options(environ).items() if key in PASSED}
    if options:
        secrets["pip.conf"] = _write(directory / "pip.conf", options)
    bundle = next((Path(environ[key]) for key in AUTHORITIES if environ.get(key)), None)
    if bundle is not None and bundle.is_file():
        secrets["ca.pem"] = bundle
    return secrets


def _write(path: Path, options: Mapping[str, str]) -> Path:
    lines = [f"{key.removeprefix('default-')} = {value}" for key, value in sorted(options.items())]
    path.touch(0o600)
    path.write_text("\n".join(["[global]", *lines, ""]))
    return path


def pip_options(environ: Mapping[str, str]) -> dict[str, str]:
    """The options that pip would take from its configuration; those from the environment win."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(environ))
    options: dict[str, str] = {}
    for line in sorted(done.stdout.splitlines(), key=lambda line: line.startswith(":env:")):
        key, _, value = line.partition("=")
        scope, _, name = key.rpartition(".")
        if scope in ("global", "install", ":env:"):
            # pip prints Python's form of the text; a list has one value a line.
            options[name] = "\n    ".join(value.strip("'\"").replace("\\n", "\n").split())
    return options
