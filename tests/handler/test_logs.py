from __future__ import annotations

import json
import logging
from io import StringIO
from typing import Any

from handler.logs import Log, Notices


def noticed(*arguments: Any, **others: Any) -> dict[str, Any]:
    text = StringIO()
    logger = logging.Logger("uvicorn.error")
    logger.addHandler(Notices(Log(text)))
    logger.error(*arguments, **others)
    line: dict[str, Any] = json.loads(text.getvalue())
    return line


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
