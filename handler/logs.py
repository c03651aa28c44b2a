"""One JSON line an event on stdout; texts only where the operator asked for them."""

import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TextIO

from handler.invocation import Invocation

LONGEST_PATH = 200


@dataclass
class Record:
    """What is known of one request; it grows while the request is answered."""

    id: str
    method: str
    path: str
    received_at: float = field(default_factory=time.perf_counter)  # seconds of time.perf_counter
    status: int | None = None
    error: str | None = None  # the error's code
    param: str | None = None
    invocation: Invocation = field(default_factory=Invocation)
    stream: bool | None = None
    finish_reason: str | None = None
    timings: dict[str, Any] = field(default_factory=dict)
    prompt: Any = None  # these two are written with FIREBRICK_LOG_TEXT=1 only
    answer: str = ""


class Log:
    """Writes events.

    Args:
        stream: Where to; stdout in the server.
        texts: Whether prompts and answers are written too.
    """

    def __init__(self, stream: TextIO, texts: bool = False) -> None:
        self._stream = stream
        self.texts = texts

    def event(self, event: str, **members: Any) -> None:
        """Write one line."""
        line = json.dumps({"event": event, "time": round(time.time(), 3), **members}, default=str)
        with suppress(OSError, ValueError):  # Nobody reads the log any more: that is no reason to stop answering.
            self._stream.write(line + "\n")
            self._stream.flush()

    def request(self, record: Record) -> None:
        """Write a request's line."""
        members = {
            "request_id": record.id,
            "method": record.method,
            "path": record.path[:LONGEST_PATH],
            "status": record.status,
            "error": record.error,
            "param": record.param,
            "trace_id": record.invocation.trace_id,
            "caller": record.invocation.caller,
            "stream": record.stream,
            "finish_reason": record.finish_reason,
            "total_ms": round((time.perf_counter() - record.received_at) * 1e3, 3),
            **record.timings,
        }
        if self.texts:
            members |= {"prompt": record.prompt, "answer": record.answer}
        self.event("request", **{name: value for name, value in members.items() if value is not None})
