"""The worker in the local Lambda: its log read as it comes, its processes killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

from bench.batch_load.account import KEYS

COMMAND = f"{sys.executable} -m awslambdaric handler.worker.function.handle"
MARK = b"awslambdaric"
REPORT = re.compile(r"^REPORT .*\tBilled Duration: (\d+) ms\tMemory Size: (\d+) MB")
INIT = re.compile(r"\tInit Duration: ([\d.]+) ms")
TOLD = ("answered", "repeated", "failed", "document", "batch_throttled", "continued", "superseded")


class Function:
    """A local Lambda with the worker in it.

    Args:
        process: of `python -m image.local`.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid = process.pid
        self.events: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()  # by code
        self.killed_at: list[float] = []  # by time.monotonic
        self.throttled_at: list[float] = []
        self.gb_seconds = 0.0
        self.invocations = 0
        self.tail: list[str] = []
        self._process = process
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def running(self) -> bool:
        """Whether it is."""
        return self._process.poll() is None

    def workers(self) -> list[int]:
        """The processes that answer."""
        found = []
        for pid in _children(self.pid):
            with suppress(OSError):
                if MARK in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def kill(self, number: int) -> bool:
        """Kill one of the processes that answer, whatever it is doing; gives whether there was one."""
        workers = self.workers()
        if workers:
            with suppress(ProcessLookupError):
                os.kill(workers[number % len(workers)], signal.SIGKILL)
                self.killed_at.append(time.monotonic())
        return bool(workers)

    def close(self) -> None:
        """End it, and read its last lines."""
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reader.join(10)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.tail = [*self.tail[-29:], line]
            if line.startswith("{"):
                with suppress(ValueError):
                    self._take(json.loads(line))
            elif report := REPORT.match(line):
                self.invocations += 1
                init = INIT.search(line)
                billed_ms = int(report[1]) + (float(init[1]) if init else 0.0)
                self.gb_seconds += billed_ms / 1e3 * int(report[2]) / 1024

    def _take(self, entry: Mapping[str, Any]) -> None:
        name = str(entry.get("message") or entry.get("event"))
        if name in TOLD:
            self.events[name] += 1
        if name == "batch_throttled":
            self.throttled_at.append(time.monotonic())
        if name == "failed":
            self.errors[str(entry.get("error"))] += 1


def _children(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            yield from map(int, task.read_text().split())


@contextmanager
def started(environ: Mapping[str, str], *arguments: str) -> Iterator[Function]:
    """Start the worker with these variables, in a local Lambda with these arguments.

    Raises:
        SystemExit: it doesn't start.
    """
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "FIREBRICK_"))}
    given = [word for key, value in environ.items() for word in ("--env", f"{key}={value}")]
    ports = ("--port", "0", "--api-port", "0")
    process = subprocess.Popen(
        [sys.executable, "-m", "image.local", "--command", COMMAND, *ports, *given, *arguments],
        env={**clean, **KEYS, **{key: value for key, value in environ.items() if key.startswith("AWS_ENDPOINT")}},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    function = Function(process)
    try:
        yield function
    finally:
        function.close()
