"""Clients that people have, each in a script that asks the real server and checks what it is given.

They have environments of their own (`make test-clients`): their requirements contradict ours.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import Server

HERE = Path(__file__).parent
PYTHON = os.environ.get("CLIENTS_PYTHON", ".venv-clients/bin/python")
NODE_MODULES = Path(os.environ.get("CLIENTS_NODE_MODULES", "build/clients/node_modules")).absolute()
KEY = "sk-for-tests"


@pytest.fixture(scope="module")
def server(demo_artefact: Path) -> Iterator[Server]:
    server = Server(demo_artefact, FIREBRICK_API_KEY=KEY)
    yield server
    server.end()
    assert not [line for line in server.lines if line.get("status", 200) >= 500]


def run(command: list[str], server: Server, folder: Path) -> None:
    environ = {**os.environ, "BASE_URL": server.url, "API_KEY": KEY, "MODEL": server.model, "HOME": str(folder)}
    done = subprocess.run(command, env=environ, cwd=folder, text=True, capture_output=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("script", sorted((HERE / "python").glob("*.py")), ids=lambda path: path.stem)
def test_python_client(script: Path, server: Server, tmp_path: Path) -> None:
    run([str(Path(PYTHON).absolute()), str(script)], server, tmp_path)


@pytest.mark.parametrize("script", sorted((HERE / "node").glob("*.mjs")), ids=lambda path: path.stem)
def test_node_client(script: Path, server: Server, tmp_path: Path) -> None:
    # node looks for packages beside the script.
    (tmp_path / script.name).write_bytes(script.read_bytes())
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    run(["node", script.name], server, tmp_path)
