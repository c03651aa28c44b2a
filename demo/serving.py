"""An artefact served in a process of its own, for as long as a block runs."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


class ServerEnded(Exception):
    """The server ended before it was ready; it has said why.

    Attributes:
        code: its exit code.
    """

    def __init__(self, code: int) -> None:
        super().__init__(f"the server ended with exit code {code}")
        self.code = code


@dataclass(frozen=True)
class Server:
    """A server that is ready.

    Attributes:
        model: the id that it answers to.
        url: without a path.
        ready_ms: what it took.
        process: which may end by itself.
    """

    model: str
    url: str
    ready_ms: float
    process: subprocess.Popen[str]


@contextlib.contextmanager
def served(model_dir: Path, port: int = 0) -> Iterator[Server]:
    """Serve an artefact on this machine alone.

    Args:
        model_dir: the artefact.
        port: 0 for any that is free.

    Raises:
        ServerEnded: it isn't ready and won't be.
    """
    command = [sys.executable, "-m", "handler", "--model-dir", str(model_dir), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            line = server.stdout.readline()
            if not line:
                raise ServerEnded(server.wait())
            ready = json.loads(line)
            yield Server(ready["model"], ready["url"], ready["ready_ms"], server)
        finally:
            server.terminate()
            server.stdout.close()
            server.wait()  # after Ctrl-C the context manager itself doesn't
