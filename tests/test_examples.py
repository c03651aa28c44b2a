"""The examples that need nothing but the server and a client of OpenAI or Anthropic; tests/image/local has AWS's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.pages import page
from tests.server import Server

EXAMPLES = ROOT / "examples"
KEY = "a-key-of-our-own"


@pytest.fixture(scope="module")
def server(demo_artefact: Path) -> Iterator[Server]:
    server = Server(demo_artefact, FIREBRICK_API_KEY=KEY)
    yield server
    assert server.end() == (0, "")


def run(server: Server, name: str, *arguments: str) -> str:
    openai = {"OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": KEY}
    environ = {**openai, "ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": KEY}
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=True).stdout


def test_a_stream_by_openais_client(server: Server) -> None:
    assert "632" in run(server, "openai_chat.py", "What is 347 + 285?")


def test_a_stream_by_anthropics_client(server: Server) -> None:
    assert "632" in run(server, "anthropic_messages.py", "What is 347 + 285?")


def test_an_object_by_a_schema(server: Server) -> None:
    assert run(server, "structured_output.py") == "Mara Weston of Tessin: order KD-4821\n"


def test_a_tool_is_called_until_the_answer_is_known(server: Server) -> None:
    assert run(server, "tools_loop.py").startswith('add({"a": 31, "b": 11}) = 42\nThe result: 42')


def test_all_of_them_are_listed() -> None:
    told = page("examples/README.md")
    assert [path.name for path in EXAMPLES.iterdir() if f"({path.name})" not in told] == ["README.md"]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.*")), ids=lambda path: path.name)
def test_each_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 45
