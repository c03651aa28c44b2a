"""The real server process, for tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai


class Server:
    """`python -m handler` on a free port, with its log."""

    def __init__(self, model_dir: Path, *arguments: str, **environ: str) -> None:
        self.lines: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "handler", "--model-dir", str(model_dir), "--port", "0", *arguments],
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.ready = self.wait_for(lambda line: line["event"] == "ready")
        self.url: str = self.ready["url"]
        self.model: str = self.ready["model"]
        self._clients: list[openai.OpenAI] = []

    def _read(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            with self._news:
                self.lines.append(json.loads(text))
                self._news.notify_all()

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a line of the log."""
        with self._news:
            assert self._news.wait_for(lambda: any(map(wanted, self.lines)), 60), self.lines
            return next(filter(wanted, self.lines))

    def client(self, api_key: str = "none") -> openai.OpenAI:
        """Make the official client; the server's end closes its connections."""
        self._clients.append(openai.OpenAI(base_url=f"{self.url}/v1", api_key=api_key, max_retries=0))
        return self._clients[-1]

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; return exit code and stderr."""
        self.process.send_signal(number)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        with self.process.stdout, self.process.stderr:
            code, errors = self.process.wait(60), self.process.stderr.read()
            self._reader.join()
        for client in self._clients:
            client.close()
        return code, errors
