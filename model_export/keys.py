"""Typed access to a JSON object such as config.json, with errors that name the key and the bad value."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from model_export.errors import ConfigInvalid

FLOAT_MAX = sys.float_info.max


class Keys:
    """The members of a JSON object; one that is null counts as left out."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = {key: value for key, value in values.items() if value is not None}

    def _get(self, key: str, default: Any) -> Any:
        value = self.values.get(key, default)
        if value is None:
            raise ConfigInvalid(f"config.json lacks {key}")
        return value

    def integer(self, key: str, default: int | None = None, largest: int = 2**31 - 1) -> int:
        """A positive integer."""
        value = self._get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= largest:
            raise ConfigInvalid(f"{key} in config.json is {value!r}: expected a positive integer up to {largest}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A positive number."""
        value = self._get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= FLOAT_MAX:
            raise ConfigInvalid(f"{key} in config.json is {value!r}: expected a positive number")
        return float(value)

    def optional_number(self, key: str) -> float | None:
        """A positive number, or None if there is none."""
        return self.number(key) if key in self.values else None

    def boolean(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise ConfigInvalid(f"{key} in config.json is {value!r}: expected true or false")
        return value

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """A list of so many positive numbers."""
        values = self._get(key, None)
        if not isinstance(values, list) or len(values) != count:
            raise ConfigInvalid(f"{key} in config.json is {str(values)[:80]!r}: expected a list of {count} numbers")
        return tuple(Keys({key: value}).number(key) for value in values)
