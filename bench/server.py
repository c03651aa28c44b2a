"""A server process to measure: started, asked, watched, ended."""

from __future__ import annotations

import compileall
import http.client
import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """What one streamed completion took.

    Attributes:
        first_token_ms: from sending the request to the first chunk with text or the finish.
        total_ms: to the end of the stream.
        timings: the server's own, from the last chunk.
    """

    first_token_ms: float
    total_ms: float
    timings: Mapping[str, Any]


def process_memory(pid: int) -> dict[str, int]:
    """Memory of a process in bytes: peak, now, anonymous, of files."""
    names = {"VmHWM": "peak", "VmRSS": "now", "RssAnon": "anonymous", "RssFile": "file"}
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in status if ":" in line)
    return {ours: int(fields[theirs].split()[0]) * 1024 for theirs, ours in names.items()}


def compile_handler() -> None:
    """Compile the handler's byte code, as it is in the image; some environments forbid Python to do so at the start."""
    compileall.compile_dir(Path(__file__).parent.parent / "handler", quiet=1)


class Server:
    """`python -m handler` on a free port, told by the environment as in a function."""

    def __init__(self, model_dir: Path, **environ: str) -> None:
        """Start it and wait until it is ready.

        Raises:
            SystemExit: it doesn't start; its own message is on stderr.
        """
        compile_handler()
        started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "handler"],
            env={**os.environ, "FIREBRICK_MODEL_DIR": str(model_dir), "AWS_LWA_PORT": "0", **environ},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.ready_ms = (time.perf_counter() - started) * 1e3
        if not line:
            raise SystemExit(self.process.wait())
        # Its log, or the pipe fills up after some hundred requests and the server waits for a reader.
        self._log = Thread(target=deque, args=(self.process.stdout, 0), daemon=True)
        self._log.start()
        self.ready: dict[str, Any] = json.loads(line)
        self.url: str = self.ready["url"]

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        self.process.wait()
        self._log.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def complete(self, prompt_ids: list[int], max_tokens: int) -> Answer:
        """Stream a greedy completion of token ids."""
        return complete(self.url, self.ready["model"], prompt_ids, max_tokens)

    def memory(self) -> dict[str, int]:
        """Memory of the process in bytes: peak, now, anonymous, of files."""
        return process_memory(self.process.pid)


def complete(url: str, model: str, prompt_ids: list[int], max_tokens: int) -> Answer:
    """Stream a greedy completion of token ids from a server.

    Raises:
        SystemExit: it answers with an error.
    """
    address = urlsplit(url)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port)
    body = {
        "model": model,
        "prompt": prompt_ids,
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": True,
    }
    started = time.perf_counter()
    connection.request("POST", "/v1/completions", json.dumps(body))
    response = connection.getresponse()
    if response.status != 200:
        raise SystemExit(f"error: the server answered {response.status}: {response.read().decode()}")
    first = 0.0
    timings: Mapping[str, Any] = {}
    for line in response:
        if not line.startswith(b"data: {"):
            continue
        first = first or time.perf_counter()
        timings = json.loads(line[6:]).get("timings") or timings
    ended = time.perf_counter()
    connection.close()
    return Answer((first - started) * 1e3, (ended - started) * 1e3, timings)
