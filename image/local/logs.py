"""What Lambda logs, and the function's own lines, on one stream."""

from __future__ import annotations

import json
import math
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO

from image.local.errors import FunctionError
from image.local.limits import LOG_TAIL_BYTES


@dataclass(frozen=True)
class Usage:
    """What an invoke took: milliseconds and MB. `init_ms` and `restore_ms` are None when the environment was warm."""

    duration_ms: float
    init_ms: float | None
    memory_mb: int
    peak_mb: int
    restore_ms: float | None = None

    @property
    def billed_ms(self) -> int:
        """Whole milliseconds, the init phase included, as Lambda bills since August 2025."""
        return -int(-(self.duration_ms + (self.init_ms or 0.0)) // 1)


class Log:
    """One environment's log stream.

    Args:
        stream: Where to; stdout in the command.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0

    def line(self, text: str) -> None:
        """Write a line and keep it for the tail."""
        with suppress(OSError, ValueError):  # Nobody reads it any more: that is no reason to end.
            self._stream.write(text + "\n")
            self._stream.flush()
        self._tail.append(text.encode() + b"\n")
        self._tail_bytes += len(self._tail[-1])
        while self._tail_bytes - len(self._tail[0]) >= LOG_TAIL_BYTES:
            self._tail_bytes -= len(self._tail.popleft())

    def event(self, name: str, **values: object) -> None:
        """Write what the local Lambda did, as JSON."""
        self.line(json.dumps({"event": name, "time": round(time.time(), 3), **values}))

    def take_tail(self) -> bytes:
        """Return the last 4 KB since the last call."""
        tail = b"".join(self._tail)[-LOG_TAIL_BYTES:]
        self._tail.clear()
        self._tail_bytes = 0
        return tail

    def start(self, request_id: str, version: str) -> None:
        """An invoke begins."""
        self.line(f"START RequestId: {request_id} Version: {version}")

    def timed_out(self, request_id: str, error: FunctionError) -> None:
        """An invoke took too long."""
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        self.line(f"{stamp}.{int(now % 1 * 1000):03d}Z {request_id} {error.message}")

    def failed(self, request_id: str, error: FunctionError) -> None:
        """An invoke ended its environment."""
        self.line(f"RequestId: {request_id} Error: {error.message}")
        self.line(error.type)

    def report(self, request_id: str, usage: Usage, error: FunctionError | None) -> None:
        """An invoke has ended."""
        self.line(f"END RequestId: {request_id}")
        parts = [
            f"REPORT RequestId: {request_id}",
            f"Duration: {usage.duration_ms:.2f} ms",
            f"Billed Duration: {usage.billed_ms} ms",
            f"Memory Size: {usage.memory_mb} MB",
            f"Max Memory Used: {usage.peak_mb} MB",
        ]
        if usage.init_ms is not None:
            parts.append(f"Init Duration: {usage.init_ms:.2f} ms")
        if usage.restore_ms is not None:
            parts.append(f"Restore Duration: {usage.restore_ms:.2f} ms")
            parts.append(f"Billed Restore Duration: {math.ceil(usage.restore_ms)} ms")
        self.line("\t".join([*parts, *_status(error)]))

    def restore_report(self, duration_ms: float, error: FunctionError | None) -> None:
        """An environment was restored, or not."""
        self.line("\t".join([f"RESTORE_REPORT Restore Duration: {duration_ms:.2f} ms", *_status(error)]))

    def init_report(self, duration_ms: float, phase: str, error: FunctionError | None) -> None:
        """An init has failed, in the phase `init` or `invoke`, or a snapshot was made after it."""
        self.line("\t".join([f"INIT_REPORT Init Duration: {duration_ms:.2f} ms", f"Phase: {phase}", *_status(error)]))


def _status(error: FunctionError | None) -> list[str]:
    if error is None or not error.ends_environment:
        return []
    # A time-out is its own status; everything else names its type.
    named = [] if error.status == "timeout" else [f"Error Type: {error.type}"]
    return [f"Status: {error.status}", *named]
