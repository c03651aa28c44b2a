"""Calls written as a Python list: `[get_weather(city="Oslo", days=3), get_time()]`."""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Sequence

LONGEST = 100_000  # characters; Python's parser takes many times as much memory
_JSON_NAMES = {"true": True, "false": False, "null": None}


class ListExtent:
    """Finds where such a list ends, as its text grows.

    Args:
        begin: Where its bracket is.
    """

    def __init__(self, begin: int = 0) -> None:
        self._at = begin
        self._depth = 0
        self._quote = ""
        self.end: int | None = None  # behind its closing bracket

    def look(self, text: str) -> None:
        """Look at what has been added to the text; it is always the whole of it."""
        while self.end is None and self._at < len(text):
            character = text[self._at]
            if character == "\\" and self._quote and self._at + 1 == len(text):
                return  # what it escapes isn't there yet
            self._at += 2 if character == "\\" and self._quote else 1
            self._take(character)

    def _take(self, character: str) -> None:
        if self._quote:
            self._quote = "" if character == self._quote else self._quote
        elif character in "\"'":
            self._quote = character
        elif character in "[({":
            self._depth += 1
        elif character in "])}":
            self._depth -= 1
            if self._depth == 0:
                self.end = self._at


def read_list(text: str) -> Sequence[tuple[str, str]] | None:
    """Read a list of calls: each tool's name, and its arguments as JSON; None if it is none.

    Values are Python's literals; true, false and null are taken for JSON's.
    """
    if len(text) > LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that Python doesn't know
            tree = ast.parse(text.strip(), mode="eval").body
        if not isinstance(tree, ast.List) or not tree.elts:
            return None
        return [_read_call(call) for call in tree.elts]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None


def _read_call(node: ast.expr) -> tuple[str, str]:
    if not isinstance(node, ast.Call) or node.args:
        raise ValueError("no call by names")
    arguments: dict[str, object] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise ValueError("no name")
        arguments[keyword.arg] = ast.literal_eval(_JsonNames().visit(keyword.value))
    return _name(node.func), _dump(arguments)


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    if not isinstance(node, ast.Name):
        raise ValueError("no name")
    return node.id


class _JsonNames(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(_JSON_NAMES[node.id]) if node.id in _JSON_NAMES else node


def _dump(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON's way to write what is beyond 16 bits is two surrogates
        return json.dumps(value, allow_nan=False)
    return text
