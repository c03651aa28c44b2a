"""How each kind of program says that it is ready, and how it is asked: a function by events, a server by HTTP."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from bench.cold_start.disk import Unavailable

POLL_S = 0.005


@dataclass(frozen=True)
class Took:
    """An answer's times in seconds; a function has no first token before its last."""

    first: float
    total: float
    tokens: int


class Asked(Protocol):
    """A program that is ready."""

    def ask(self, ids: Sequence[int], tokens: int) -> Took:
        """Have a prompt continued, greedily, by just so many tokens."""


@dataclass(frozen=True)
class Function:
    """A function under `bench.baselines.runtime`."""

    process: subprocess.Popen[str]

    def ask(self, ids: Sequence[int], tokens: int) -> Took:
        assert self.process.stdin is not None
        started = time.perf_counter()
        print(json.dumps({"ids": list(ids), "max_tokens": tokens}), file=self.process.stdin, flush=True)
        answer = json.loads(line_of(self.process))
        took = time.perf_counter() - started
        return Took(took, took, len(answer["ids"]))


@dataclass(frozen=True)
class Server:
    """A server with OpenAI's completions."""

    url: str
    model: str

    def ask(self, ids: Sequence[int], tokens: int) -> Took:
        body = {
            "model": self.model,
            "prompt": list(ids),
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        address = urlsplit(self.url)
        assert address.hostname is not None
        connection = http.client.HTTPConnection(address.hostname, address.port)
        started = time.perf_counter()
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise Unavailable(f"{self.url} answered {response.status}: {response.read().decode()}")
        first, usage = 0.0, dict[str, Any]()
        for line in response:
            if line.startswith(b"data: {"):
                first = first or time.perf_counter()
                usage = json.loads(line[6:]).get("usage") or usage
        ended = time.perf_counter()
        connection.close()
        return Took(first - started, ended - started, int(usage["completion_tokens"]))


def function_ready(process: subprocess.Popen[str]) -> Asked:
    """Wait for a function's init phase to end."""
    line_of(process)
    return Function(process)


def firebrick_ready(process: subprocess.Popen[str]) -> Asked:
    """Wait for our server's line."""
    ready = json.loads(line_of(process))
    return Server(ready["url"], ready["model"])


def llama_ready(process: subprocess.Popen[str], port: int) -> Asked:
    """Ask llama.cpp's server for its health until it is well, as the Web Adapter does."""
    while process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return Server(f"http://127.0.0.1:{port}", "any")
        except OSError:
            pass  # it doesn't listen yet
        finally:
            connection.close()
        time.sleep(POLL_S)
    raise Unavailable(f"{process.args!r} ended with exit code {process.returncode}")


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line of a program's output.

    Raises:
        Unavailable: it has ended; its own message is on stderr.
    """
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise Unavailable(f"{process.args!r} ended with exit code {process.wait()}")
    return line
