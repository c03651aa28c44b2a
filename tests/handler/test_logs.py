from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from io import StringIO
from itertools import islice
from typing import Any

from handler.logs import Log, Notices, Unblocked


def noticed(*arguments: Any, **others: Any) -> dict[str, Any]:
    text = StringIO()
    logger = logging.Logger("uvicorn.error")
    logger.addHandler(Notices(Log(text)))
    logger.error(*arguments, **others)
    line: dict[str, Any] = json.loads(text.getvalue())
    return line


class Pipe:
    """A log into a pipe whose reader begins when the test says so."""

    def __enter__(self) -> Pipe:
        self.reader, writer = os.pipe()
        self.stream = os.fdopen(writer, "w")
        self.sink = Unblocked(self.stream)
        self.log = Log(self.sink)
        return self

    def __exit__(self, *error: object) -> None:
        self.stream.close()
        os.close(self.reader)

    def lines(self) -> Iterator[dict[str, Any]]:
        """What comes, line by line."""
        received = b""
        while True:
            *whole, received = received.split(b"\n")
            yield from map(json.loads, whole)
            received += os.read(self.reader, 65_536)


def test_a_line_is_there_at_once() -> None:
    before = threading.active_count()
    with Pipe() as pipe:
        pipe.log.event("one", text="é")
        assert next(pipe.lines())["event"] == "one"
        assert threading.active_count() == before


def test_a_reader_that_stalls_holds_up_nobody_and_misses_nothing() -> None:
    with Pipe() as pipe:
        for index in range(2000):  # 200 kB; a pipe holds 64
            pipe.log.event("line", index=index, text="x" * 60)
        assert [line["index"] for line in islice(pipe.lines(), 2000)] == list(range(2000))
        pipe.sink.drain(10)


def test_lines_beyond_the_memory_for_them_are_counted() -> None:
    with Pipe() as pipe:
        for index in range(4000):
            pipe.log.event("line", index=index, text="x" * 1000)
        lines = pipe.lines()
        told = []
        while (line := next(lines))["event"] == "line":
            told.append(line["index"])
        assert told == sorted(told)
        assert line == {"event": "log_lines_dropped", "time": line["time"], "lines": 4000 - len(told)}


def test_a_long_line_goes_out_whole() -> None:
    with Pipe() as pipe:
        pipe.log.event("long", text="x" * 300_000)
        pipe.log.event("next")
        lines = pipe.lines()
        assert (len(next(lines)["text"]), next(lines)["event"]) == (300_000, "next")
        pipe.sink.drain(10)


def test_a_reader_that_is_gone_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    log = Log(Unblocked(stream))
    for _ in range(3):
        log.event("line")
    with suppress(BrokenPipeError):
        stream.close()


def test_what_a_library_says_is_one_json_line() -> None:
    line = noticed("two\nlines of %s", "it")
    assert (line["event"], line["logger"], line["notice"]) == ("notice", "uvicorn.error", "two\nlines of it")


def test_an_exception_has_its_place_and_no_traceback() -> None:
    try:
        raise KeyError("x")
    except KeyError:
        line = noticed("failed", exc_info=True)
    assert (line["type"], line["notice"]) == ("KeyError", "failed")
    assert line["places"][0].endswith("test_an_exception_has_its_place_and_no_traceback")
