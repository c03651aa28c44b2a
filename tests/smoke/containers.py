"""The images under the local Lambda, and a look into their containers from outside."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.image.local.lambda_process import LocalLambda

STREAM = os.environ.get("STREAM_IMAGE", "firebrick:stream")
WORKER = os.environ.get("WORKER_IMAGE", "firebrick:worker")


def require_image(name: str) -> None:
    """Skip where nothing can be tested, and say so."""
    if shutil.which("podman") is None:
        pytest.skip("NOT TESTED: there is no podman here")
    if subprocess.run(["podman", "image", "exists", name], capture_output=True).returncode != 0:
        pytest.skip(f"NOT TESTED: there is no image {name}; `make image` builds it")


def containers(running: LocalLambda) -> list[int]:
    """Return the first process of each container of a local Lambda."""
    command = ["podman", "ps", "--filter", f"name=firebrick-local-{running.process.pid}-", "--format", "{{.Pid}}"]
    return [int(pid) for pid in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()]


def process(running: LocalLambda, words: str) -> int:
    """Return the process in the only container whose command line has these words."""
    [first] = containers(running)
    for pid in Path(f"/proc/{first}/task/{first}/children").read_text().split():
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        if words in line and "bootstrap" not in line:
            return int(pid)
    raise AssertionError(f"nothing in the container runs {words}")


def status(pid: int) -> dict[str, str]:
    """Return what the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


def inside(pid: int, path: str) -> Path:
    """Return a path as the process sees it."""
    return Path(f"/proc/{pid}/root{path}")
