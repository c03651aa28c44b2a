"""One JSON line an event on stdout; texts only where the operator asked for them."""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Mapping
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
    answers: dict[int, str] = field(default_factory=dict)  # by choice


class Log:
    """Writes events.

    Args:
        stream: Where to; stdout in the server.
        texts: Whether prompts and answers are written too.
    """

    def __init__(self, stream: TextIO, texts: bool = False) -> None:
        self._stream = stream
        self.texts = texts

    def failure(self, error: BaseException, event: str = "failure", **members: Any) -> None:
        """Write a line about a failure of our own: with the place, but without the values at hand."""
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        self.event(event, **members, type=type(error).__name__, message=str(error)[:500], places=places)

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
            members |= {"prompt": record.prompt, **_answer(record.answers)}
        self.event("request", **{name: value for name, value in members.items() if value is not None})


def _answer(texts: Mapping[int, str]) -> dict[str, Any]:
    if len(texts) > 1:
        return {"answers": [texts[index] for index in sorted(texts)]}
    return {"answer": "".join(texts.values())}


class Notices(logging.Handler):
    """Writes what libraries have to say into the log, which would be plain text on stderr.

    Args:
        log: Where to.
    """

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        members = {"logger": record.name, "notice": record.getMessage()}
        if record.exc_info and record.exc_info[1]:
            self._log.failure(record.exc_info[1], "notice", **members)
        else:
            self._log.event("notice", **members)
