"""Reading JSON that somebody else wrote: types, ranges and text, each refused by its path."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn

from handler.errors import (
    InvalidText,
    InvalidType,
    InvalidValue,
    MalformedJson,
    MissingParameter,
    NotAnObject,
    NumberTooLong,
    UnsupportedParameter,
    shown,
)


def parse_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        MalformedJson: The body isn't JSON in UTF-8, or is nested too deeply.
        NotAnObject: It's another JSON value.
        NumberTooLong: It holds an integer of more digits than Python reads.
    """
    try:
        # A null character would make the C scanner's message unprintable; NaN and Infinity aren't JSON.
        value = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise MalformedJson("the body's JSON is nested too deeply") from error
    except ValueError as error:
        if "set_int_max_str_digits" in str(error):  # advice for programmers
            raise NumberTooLong(sys.get_int_max_str_digits()) from error
        raise MalformedJson(f"the body is not valid JSON: {str(error)[:200]}") from error
    if not isinstance(value, dict):
        raise NotAnObject(f"the body must be a JSON object, got {shown(value)}")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def check_text(value: object, path: str, expected: str = "a string") -> str:
    """Return a string that can be encoded.

    Raises:
        InvalidType: It isn't a string.
        InvalidText: It holds a lone surrogate, which JSON can write and UTF-8 can't.
    """
    if not isinstance(value, str):
        raise InvalidType(path, expected, value)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidText(path) from error
    return value


def check_token_ids(values: Sequence[object], path: str, vocab_size: int) -> tuple[int, ...]:
    """Return token ids; 3.0 is one, as in JSON Schema.

    Raises:
        InvalidType: One isn't an integer.
        InvalidValue: The vocabulary has no such id.
    """
    ids = []
    for index, value in enumerate(values):
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidType(f"{path}[{index}]", "a token id", value)
        if not 0 <= value < vocab_size:
            raise InvalidValue(f"{path}[{index}]", f"a token id below {vocab_size}", value)
        ids.append(value)
    return tuple(ids)


class Members:
    """The members of one JSON object; null counts as absent.

    Args:
        values: The object.
        path: What its members' names are appended to in errors, such as `messages[0].`.
    """

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self._values = values
        self._path = path

    def get(self, name: str) -> Any:
        """Return the member as it is, or None."""
        return self._values.get(name)

    def text(self, name: str) -> str | None:
        """Return a string member, or None."""
        value = self.get(name)
        return None if value is None else check_text(value, self._path + name)

    def required(self, name: str) -> str:
        """Return a string member that must be there."""
        value = self.text(name)
        if value is None:
            raise MissingParameter(self._path + name)
        return value

    def kind(self, kinds: Collection[str], what: str) -> str:
        """Return `type`, which must be there and one of `kinds`.

        Args:
            kinds: The types that there are.
            what: What has them, for errors: "parts".

        Raises:
            UnsupportedParameter: It is another.
        """
        kind = self.required("type")
        if kind not in kinds:
            raise UnsupportedParameter(
                f"{self._path}type", f"only {what} of type {', '.join(kinds)} are supported", kind
            )
        return kind

    def boolean(self, name: str) -> bool | None:
        """Return a boolean member, or None."""
        value: bool | None = self._typed(name, bool, "true or false")
        return value

    def array(self, name: str) -> list[Any] | None:
        """Return an array member, or None."""
        value: list[Any] | None = self._typed(name, list, "an array")
        return value

    def mapping(self, name: str) -> dict[str, Any] | None:
        """Return an object member, or None."""
        value: dict[str, Any] | None = self._typed(name, dict, "an object")
        return value

    def number(self, name: str, low: float, high: float, *, above: bool = False) -> float | None:
        """Return a number from `low` (or above it) to `high`, or None."""
        value = self.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidType(self._path + name, "a number", value)
        # Compared before it becomes a float: 10**400 doesn't fit in one.
        if not low <= value <= high or (above and value == low):
            expected = f"above {low:g} and at most {high:g}" if above else f"from {low:g} to {high:g}"
            raise InvalidValue(self._path + name, expected, value)
        return float(value)

    def integer(self, name: str, low: int, high: int | None = None) -> int | None:
        """Return an integer from `low` to `high`, or None; 3.0 is an integer, as in JSON Schema."""
        value = self.get(name)
        if value is None:
            return None
        if isinstance(value, float) and math.isfinite(value) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidType(self._path + name, "an integer", value)
        if value < low or (high is not None and value > high):
            expected = f"at least {low}" if high is None else f"from {low} to {high}"
            raise InvalidValue(self._path + name, expected, value)
        return value

    def refuse(self, name: str, what: str, *neutral: object) -> None:
        """Refuse a member unless it is absent, or one of the `neutral` values, which ask for nothing.

        Raises:
            UnsupportedParameter: It asks for something.
        """
        value = self.get(name)
        asks_nothing = value is None or any(_same(value, harmless) for harmless in neutral)
        if not asks_nothing:
            raise UnsupportedParameter(self._path + name, what, value)

    def _typed(self, name: str, kind: type, expected: str) -> Any:
        value = self.get(name)
        if value is not None and not isinstance(value, kind):
            raise InvalidType(self._path + name, expected, value)
        return value


def members_of(value: object, path: str, expected: str = "an object") -> Members:
    """Return the members of what should be an object.

    Raises:
        InvalidType: It is another JSON value.
    """
    if not isinstance(value, dict):
        raise InvalidType(path, expected, value)
    return Members(value, f"{path}.")


def _same(value: object, harmless: object) -> bool:
    # In Python 1 == True, in JSON they are different things; 1.0 and 1 are the same.
    return value == harmless and isinstance(value, bool) == isinstance(harmless, bool)
