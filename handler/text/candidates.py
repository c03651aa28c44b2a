"""What may be calls, from where they begin: where they end, and what they say."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Protocol

from handler.text.json_text import Extent, is_object, read_members
from handler.text.pythonic import ListExtent, read_list

NAMED = re.compile(r"\s*([A-Za-z0-9_.-]+)\s*(?:\[CALL_ID\][^\[\]{}]*)?\[ARGS\]\s*(?=\{)")
_HEAD = re.compile(r'\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*')
Read = tuple[str, str]  # a tool's name, and the arguments' JSON


class Candidate(Protocol):
    """What may be one call or several, while its text grows.

    Attributes:
        end: Behind it; None while it hasn't ended.
        name: The tool's, if that is certain before the end.
        begin: Where the arguments begin, if the name is certain.
    """

    end: int | None
    name: str | None
    begin: int

    def look(self, text: str) -> None:
        """Look at what has been added to the text; it is always the whole of it."""
        ...

    def told(self, text: str) -> int:
        """Return up to where the text is arguments, if the name is certain."""
        ...

    def read(self, text: str) -> Sequence[Read]:
        """Return the calls, once it has ended; none if it is something else."""
        ...


class ObjectCandidate:
    """`{"name": …, "arguments": …}`, or with `parameters`, in any order.

    Args:
        at: Where it begins.
        marked: Whether a marker stands before it; if not, it must have arguments, since it may be any object.
    """

    def __init__(self, at: int, marked: bool) -> None:
        self._at, self._marked = at, marked
        self._outer = Extent(at)
        self._inner = Extent(at)
        self.end: int | None = None
        self.name: str | None = None
        self.begin = at

    def look(self, text: str) -> None:
        if self._outer.inner is None:
            self._outer.look(text)
            if self._outer.inner is not None:
                self._read_head(text[self._at : self._outer.inner], self._outer.inner)
        self._outer.look(text)
        self.end = self._outer.end

    def _read_head(self, head: str, begin: int) -> None:
        found = _HEAD.fullmatch(head)
        if found:
            self.name, self.begin, self._inner = _name(found[1]), begin, Extent(begin)

    def told(self, text: str) -> int:
        self._inner.look(text)
        return len(text) if self._inner.end is None else self._inner.end

    def read(self, text: str) -> Sequence[Read]:
        members = read_members(text[self._at : self.end])
        if members is None:
            return ()
        given = members.get("arguments", members.get("parameters"))
        name = _name(members.get("name", ""))
        arguments = _arguments(given) if given is not None or self._marked else None
        return () if name is None or arguments is None else [(name, arguments)]


class NamedCandidate:
    """`name[ARGS]{…}`.

    Args:
        found: Of `NAMED`.
    """

    def __init__(self, found: re.Match[str]) -> None:
        self.name: str | None = found[1]
        self.begin = found.end()
        self.end: int | None = None
        self._extent = Extent(self.begin)

    def look(self, text: str) -> None:
        self._extent.look(text)
        self.end = self._extent.end

    def told(self, text: str) -> int:
        return len(text) if self.end is None else self.end

    def read(self, text: str) -> Sequence[Read]:
        arguments = text[self.begin : self.end]
        return [(self.name, arguments)] if self.name and is_object(arguments) else ()


class ListCandidate:
    """`[name(argument=value), …]`.

    Args:
        at: Where it begins.
    """

    name: str | None = None

    def __init__(self, at: int) -> None:
        self.begin = at
        self.end: int | None = None
        self._extent = ListExtent(at)

    def look(self, text: str) -> None:
        self._extent.look(text)
        self.end = self._extent.end

    def told(self, text: str) -> int:
        return self.begin

    def read(self, text: str) -> Sequence[Read]:
        return read_list(text[self.begin : self.end]) or ()


def _name(text: str) -> str | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def _arguments(text: str | None) -> str | None:
    """Return the arguments as an object's JSON; some models write that as a string, or null for none."""
    if text is None or text == "null":
        return "{}"
    if text.startswith('"'):
        text = _name(text) or ""
    return text if is_object(text) else None
