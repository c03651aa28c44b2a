"""The keywords of JSON Schema that hold values: what llguidance would misread or never finish is refused here."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from handler.text.formats import PATTERNS

MOST_MULTIPLE = 10_000  # of multipleOf, without its point: so many states there are, and all of them are computed
MOST_COUNTED = 2**31 - 1  # items, properties or characters
SAFE_INTEGER = 2**53  # beyond, numbers are no longer exact
LEAST_GAP = 1e-9  # between an excluded whole number and the numbers that come
BOUNDS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
Check = Callable[[Any, Mapping[str, Any], str], Any]

# Control characters that JSON has no short name for. Answers don't spell them, since \\u would give names a second
# spelling; and where a text must hold one, llguidance would leave it out.
_CONTROL = re.compile(r"[\x00-\x07\x0b\x0e-\x1f\x7f]")
_CONTROL_ESCAPE = re.compile(
    r"[\x00-\x07\x0b\x0e-\x1f\x7f]"
    r"|\\(?:[0av]|c.|(?:x|u00|U000000)(?:[01][0-9a-fA-F]|7[fF])|[xuU]\{0*(?:1?[0-9a-fA-F]|7[fF])\})"
)
_ESCAPED = re.compile(r"\\\\")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]")


class SchemaRefused(Exception):
    """A schema can't be enforced; the text names the place as a JSON pointer, and so the keyword, and the reason."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"at {place}: {reason}")


def escaped(name: str) -> str:
    """Write a member's name as a part of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def checked(value: Any, kind: type, place: str, expected: str) -> Any:
    """Return a value of a type.

    Raises:
        SchemaRefused: It is of another.
    """
    if not isinstance(value, kind):
        raise SchemaRefused(place, f"it must be {expected}")
    return value


def check_pattern(pattern: str, place: str) -> None:
    """Refuse a regular expression that wants a control character, alone, as a text: it would be left out.

    In a class with others it does no harm.

    Raises:
        SchemaRefused: It may want one.
    """
    bare = _ESCAPED.sub("", pattern)
    classes = [found for found in _CLASS.findall(bare) if _CONTROL_ESCAPE.search(found)]
    if _CONTROL_ESCAPE.search(_CLASS.sub("", bare)) or any(map(_may_be_one, classes)):
        raise SchemaRefused(place, "control characters can't be asked for")


def _may_be_one(characters: str) -> bool:
    if any(operator in characters[1:] for operator in ("[", "&&", "--", "~~")):
        return True
    if characters.startswith("[^"):
        return "10ffff" in characters.lower()
    return "-" not in characters


def _exact(value: Any, schema: Mapping[str, Any], place: str) -> Any:
    """Refuse what would come out otherwise, wherever in a value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _exact(key, schema, place)
            _exact(inner, schema, f"{place}/{escaped(key)}")
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            _exact(inner, schema, f"{place}/{at}")
    elif isinstance(value, str) and _CONTROL.search(value):
        raise SchemaRefused(place, "control characters can't be asked for")
    elif isinstance(value, int) and not -SAFE_INTEGER <= value <= SAFE_INTEGER:
        raise SchemaRefused(place, "an integer beyond ±2^53 isn't exact")
    elif isinstance(value, float) and not math.isfinite(value):
        raise SchemaRefused(place, "the number is too large")
    return value


def _multiple(value: Any, schema: Mapping[str, Any], place: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0 or not math.isfinite(value):
        raise SchemaRefused(place, "it must be a number above 0")
    digits = Decimal(str(value)).normalize().as_tuple().digits
    if int("".join(map(str, digits))) > MOST_MULTIPLE or len(str(value)) > 20:
        raise SchemaRefused(place, f"more than {MOST_MULTIPLE} can't be enforced")
    return value


def _least_properties(value: Any, schema: Mapping[str, Any], place: str) -> Any:
    required = schema.get("required")
    known = len(set(map(str, required))) if isinstance(required, list) else 0
    if isinstance(value, int | float) and value > known + 1:
        raise SchemaRefused(place, "more than one beyond those that are required can't be enforced: names might repeat")
    return _count(value, schema, place)


def _count(value: Any, schema: Mapping[str, Any], place: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1 or value < 0:
        raise SchemaRefused(place, "it must be an integer from 0 on")
    if value > MOST_COUNTED and place.rpartition("/")[2].startswith("min"):
        raise SchemaRefused(place, f"no answer has more than {MOST_COUNTED}")
    return int(min(value, MOST_COUNTED))


def _bound(inwards: float) -> Check:
    def check(value: Any, schema: Mapping[str, Any], place: str) -> Any:
        if isinstance(value, bool) and place.rpartition("/")[2].startswith("exclusive"):
            return value  # draft 4's way
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SchemaRefused(place, "it must be a number")
        try:
            nearest = float(value)
        except OverflowError:
            nearest = math.inf
        if not math.isfinite(nearest):
            raise SchemaRefused(place, "the number is too large")
        if abs(nearest) > SAFE_INTEGER:
            if (nearest > 0) == (inwards > 0):
                raise SchemaRefused(place, "numbers beyond ±2^53 can't be enforced")
            return int(math.copysign(SAFE_INTEGER, nearest))
        # Rounded, a bound might let through what it excludes.
        beyond = nearest > value if inwards < 0 else nearest < value
        exact = value if nearest == value else math.nextafter(nearest, inwards) if beyond else nearest
        name = place.rpartition("/")[2]
        excluded = name.startswith("exclusive") or schema.get(f"exclusive{name.capitalize()}") is True
        return _excluded(exact, inwards, schema) if excluded else exact

    return check


def _excluded(value: float, inwards: float, schema: Mapping[str, Any]) -> float:
    """Move a whole number that is excluded inwards by next to nothing: between it and a bound that lies within the same
    unit, llguidance would take it for included."""
    if schema.get("type") == "integer" or value != value // 1:
        return value
    others = [schema.get(name) for name in BOUNDS]
    gaps = [abs(other - value) / 4 for other in others if isinstance(other, int | float) and other != value]
    moved = value + math.copysign(min([LEAST_GAP, *gaps]), inwards)
    moved = moved if moved != value else math.nextafter(value, inwards)
    return value if moved == moved // 1 else moved


def _type(value: Any, schema: Mapping[str, Any], place: str) -> Any:
    names = value if isinstance(value, list) else [value]
    if not names or not all(name in TYPES for name in names):
        raise SchemaRefused(place, f"it must be one or several of {', '.join(TYPES)}")
    return value


def _required(value: Any, schema: Mapping[str, Any], place: str) -> Any:
    if not all(isinstance(name, str) for name in checked(value, list, place, "an array of strings")):
        raise SchemaRefused(place, "it must be an array of strings")
    return value


def _pattern(value: Any, schema: Mapping[str, Any], place: str) -> Any:
    check_pattern(checked(value, str, place, "a string"), place)
    return PATTERNS.get(value, value)


CHECKS: Mapping[str, Check] = {
    "type": _type,
    "required": _required,
    "pattern": _pattern,
    "const": _exact,
    "enum": _exact,
    "minimum": _bound(math.inf),
    "exclusiveMinimum": _bound(math.inf),
    "maximum": _bound(-math.inf),
    "exclusiveMaximum": _bound(-math.inf),
    "multipleOf": _multiple,
    "minProperties": _least_properties,
    **dict.fromkeys(("maxProperties", "minItems", "maxItems", "minLength", "maxLength"), _count),
}
