from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from demo.chat import has_screen
from demo.real import main as ask_real
from demo.serving import ServerEnded, served
from tests.conftest import ROOT


def test_an_artefact_is_served_while_the_block_runs(demo_artefact: Path) -> None:
    with served(demo_artefact) as server:
        assert server.model == "firebrick-demo"
        with urllib.request.urlopen(f"{server.url}/health") as answer:
            assert answer.status == 200
    assert server.process.returncode == 0


def test_what_is_no_artefact_ends_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ServerEnded, match="exit code 2") as ended, served(tmp_path):
        pass
    assert ended.value.code == 2
    assert str(tmp_path) in capfd.readouterr().err


def test_chat_says_what_to_open_and_ends_with_its_server(demo_artefact: Path) -> None:
    command = [sys.executable, "-m", "demo.chat", str(demo_artefact), "--port", "0"]
    environ = {k: v for k, v in os.environ.items() if not k.endswith("DISPLAY")}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True) as chat:
        assert chat.stdout is not None
        url, what = chat.stdout.readline().split(maxsplit=1)
        assert what == "is what to open in a browser; Ctrl-C ends firebrick-demo\n"
        with urllib.request.urlopen(url) as answer:
            assert b"<html" in answer.read()
        chat.send_signal(signal.SIGTERM)
        assert chat.wait() == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url)


def test_a_screen_is_what_a_browser_needs() -> None:
    assert has_screen({"DISPLAY": ":0"})
    assert not has_screen({"DISPLAY": "", "TERM": "xterm"})


def test_a_real_demo_without_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask_real([str(tmp_path), str(tmp_path / "x.gguf")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'x.gguf'} can't be read")
