"""One JSON line an event on stdout; texts only where the operator asked for them."""

from __future__ import annotations

import json
import logging
import select
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Protocol, TextIO

from handler.invocation import Invocation

LONGEST_PATH = 200
LONGEST_METHOD = 20  # HTTP has none longer than UPDATEREDIRECTREF
MOST_WAITING = 2**20  # characters of lines that a stalled reader hasn't taken
LONGEST_AT_ONCE = select.PIPE_BUF  # bytes that a pipe takes as a whole, if it takes any


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


class Sink(Protocol):
    """Where lines go."""

    def write(self, line: str, /) -> object: ...
    def flush(self) -> object: ...


class Unblocked:
    """A stream whose reader may stall: nobody waits for it.

    Lines go out at once where the stream takes them. Else they wait for a thread, in their order; beyond MOST_WAITING
    they are dropped, and a line says how many.

    Args:
        stream: With a file descriptor, for example stdout.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Condition()
        self._lines: SimpleQueue[str] | None = None  # and its thread, once it is needed
        self._waiting = 0  # characters
        self._dropped = 0
        self._poll = select.poll()
        self._poll.register(stream.fileno(), select.POLLOUT)

    def write(self, line: str) -> None:
        """Write a whole line, or let it wait, or drop it."""
        with self._lock:
            if not self._waiting and len(line) * 4 <= LONGEST_AT_ONCE and self._poll.poll(0):
                self._stream.write(line)
                self._stream.flush()
            elif self._waiting and self._waiting + len(line) > MOST_WAITING:
                self._dropped += 1
            else:
                self._waiting += len(line)
                self._queue().put(line)

    def flush(self) -> None:
        """There is nothing to flush: `write` does."""

    def drain(self, seconds: float) -> None:
        """Wait until all is written, or the time is up."""
        with self._lock:
            self._lock.wait_for(lambda: not self._waiting, seconds)

    def _queue(self) -> SimpleQueue[str]:
        if self._lines is None:
            self._lines = SimpleQueue()
            threading.Thread(target=self._work, args=(self._lines,), name="log", daemon=True).start()
        return self._lines

    def _work(self, lines: SimpleQueue[str]) -> None:
        while True:
            line = lines.get()
            self._put(line)
            with self._lock:
                self._waiting -= len(line)
                dropped = 0 if self._waiting else self._dropped
                self._dropped -= dropped
                self._lock.notify_all()
            if dropped:
                self._put(_line("log_lines_dropped", {"lines": dropped}))

    def _put(self, line: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(line)
            self._stream.flush()


def _line(event: str, members: dict[str, Any]) -> str:
    return json.dumps({"event": event, "time": round(time.time(), 3), **members}, default=str) + "\n"


class Log:
    """Writes events.

    Args:
        stream: Where to; stdout in the server.
        texts: Whether prompts and answers are written too.
    """

    def __init__(self, stream: Sink, texts: bool = False) -> None:
        self._stream = stream
        self.texts = texts

    def failure(self, error: BaseException, event: str = "failure", **members: Any) -> None:
        """Write a line about a failure of our own: with the place, but without the values at hand."""
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        self.event(event, **members, type=type(error).__name__, message=str(error)[:500], places=places)

    def event(self, event: str, **members: Any) -> None:
        """Write one line."""
        with suppress(OSError, ValueError):  # Nobody reads the log any more: that is no reason to stop answering.
            self._stream.write(_line(event, members))
            self._stream.flush()

    def request(self, record: Record) -> None:
        """Write a request's line."""
        members = {
            "request_id": record.id,
            "method": record.method[:LONGEST_METHOD],
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
