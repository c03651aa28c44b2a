"""JSON as a model writes it: where an object ends that still grows, and its members as they were written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NoReturn

_OUTSIDE = re.compile(r'[{}\[\]"]')
_INSIDE = re.compile(r'["\\]')
_BLANK = re.compile(r"[ \t\r\n]*")


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


class Extent:
    """Finds where an object or array ends, as its text grows.

    Brackets are counted, not matched: whether it's JSON is for who reads it.

    Args:
        begin: Where its bracket is.
    """

    def __init__(self, begin: int = 0) -> None:
        self._at = begin
        self._depth = 0
        self._quoted = False
        self.inner: int | None = None  # where the first object inside of it begins
        self.end: int | None = None  # behind its closing bracket

    def look(self, text: str) -> None:
        """Look at what has been added to the text; it is always the whole of it."""
        while self.end is None:
            found = (_INSIDE if self._quoted else _OUTSIDE).search(text, self._at)
            if found is None:
                self._at = len(text)
                return
            if found[0] == "\\" and found.end() == len(text):
                self._at = found.start()  # what it escapes isn't there yet
                return
            self._take(found[0], found.start())

    def _take(self, character: str, at: int) -> None:
        self._at = at + 1
        if character == '"':
            self._quoted = not self._quoted
        elif character == "\\":
            self._at += 1
        elif character in "{[":
            self._depth += 1
            if self._depth == 2 and character == "{" and self.inner is None:
                self.inner = at
        else:
            self._depth -= 1
            if self._depth == 0:
                self.end = at + 1


def read_members(text: str) -> Mapping[str, str] | None:
    """Read a JSON object: each member's name, and its value as it is written; None if it is none.

    Of members with one name the last one counts, as in `json.loads`.
    """
    members: dict[str, str] = {}
    try:
        at = _skip(text, 1) if text.startswith("{") else len(text)
        while text[at] != "}":
            key, at = _DECODER.raw_decode(text, at)
            at = _skip(text, at)
            if not isinstance(key, str) or text[at] != ":":
                return None
            begin = _skip(text, at + 1)
            _, end = _DECODER.raw_decode(text, begin)
            members[key] = text[begin:end]
            at = _skip(text, end)
            if text[at] == ",":
                at = _skip(text, at + 1)
                if text[at] == "}":
                    return None
            elif text[at] != "}":
                return None
    except (ValueError, IndexError, RecursionError):
        return None
    return members if not text[at + 1 :].strip() else None


def is_object(text: str) -> bool:
    """Whether a text is a JSON object."""
    return read_members(text) is not None


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    assert found is not None  # it matches nothing, too
    return found.end()
