"""Schemas as people write them, by the hundred: objects, lists, unions, bounds, patterns, formats, recursion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

Schema = dict[str, Any]
NAMES = ("name", "city", "order_id", "Größe", "note", "tags", "price", "a", "x-y", "$id", "名前", "a\tb", 'q"uote')
PATTERNS = (
    "^[A-Z]{2}-[0-9]{4}$",
    "^(yes|no)$",
    "[aeiou]{2}",
    "^\\w+@\\w+$",
    "^\\d{1,3}(\\.\\d{1,2})?$",
    '^[^\\s"]+$',
    "é",
)
FORMATS = ("date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri")


def _flat(rng: Random) -> Schema:
    names = rng.sample(NAMES, rng.randint(1, 6))
    schema: Schema = {"type": "object", "properties": {name: _leaf(rng) for name in names}}
    schema["required"] = [name for name in names if rng.random() < 0.7]
    if rng.random() < 0.7:
        schema["additionalProperties"] = False
    return schema


def _leaf(rng: Random) -> Schema:
    return rng.choice(
        (_string, _number, _choice, lambda _: {"type": "boolean"}, lambda _: {"type": ["null", "integer"]})
    )(rng)


def _string(rng: Random) -> Schema:
    low = rng.randint(0, 6)
    return rng.choice(
        (
            {"type": "string", "minLength": low, "maxLength": low + rng.randint(0, 20)},
            {"type": "string", "pattern": rng.choice(PATTERNS)},
            {"type": "string", "format": rng.choice(FORMATS)},
            {"type": "string", "pattern": rng.choice(PATTERNS[1:3]), "maxLength": 12},
        )
    )


def _number(rng: Random) -> Schema:
    low, high = sorted((rng.randint(-2000, 2000), rng.randint(-2000, 2000)))
    return rng.choice(
        (
            {"type": "integer", "minimum": low, "maximum": high},
            {"type": "integer", "exclusiveMinimum": low, "exclusiveMaximum": high + 2},
            {"type": "number", "minimum": low / 7, "maximum": high / 7 + 1},
            {"type": "integer", "multipleOf": rng.randint(2, 12), "minimum": 0, "maximum": 10_000},
            {"type": "number", "multipleOf": 0.05, "minimum": 0, "maximum": 50},
            {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
        )
    )


def _choice(rng: Random) -> Schema:
    values = rng.sample(["red", "green", 1, 2.5, True, None, "", "ein Löwe", [1, 2], {"k": "v"}, -7, "\n"], 3)
    return rng.choice(
        (
            {"enum": values},
            {"const": values[0]},
            {"enum": values, "type": ["string", "integer", "null"]}
            if any(isinstance(v, str | int) or v is None for v in values)
            else {"enum": values},
        )
    )


def _array(rng: Random) -> Schema:
    low = rng.randint(0, 3)
    return rng.choice(
        (
            {"type": "array", "items": _leaf(rng), "minItems": low, "maxItems": low + rng.randint(0, 3)},
            {"type": "array", "prefixItems": [_leaf(rng), _leaf(rng)], "items": False, "minItems": 2},
            {"type": "array", "prefixItems": [_leaf(rng)], "items": {"type": "integer"}, "maxItems": 3},
            {"type": "array", "items": _flat(rng), "minItems": 1, "maxItems": 2},
        )
    )


def _nested(rng: Random, depth: int = 2) -> Schema:
    names = rng.sample(NAMES, rng.randint(1, 3))
    inner = {name: _nested(rng, depth - 1) if depth and rng.random() < 0.5 else _leaf(rng) for name in names}
    return {"type": "object", "properties": inner, "required": names, "additionalProperties": False}


def _union(rng: Random) -> Schema:
    kinds = rng.sample(["circle", "square", "line"], 2)
    options = [
        {**_flat(rng), "required": ["kind"], "properties": {"kind": {"const": kind}, "size": _number(rng)}}
        for kind in kinds
    ]
    word = rng.choice(("anyOf", "oneOf"))
    if rng.random() < 0.5:
        return {word: options}
    return {word: [{"$ref": f"#/$defs/{kind}"} for kind in kinds], "$defs": dict(zip(kinds, options, strict=True))}


def _together(rng: Random) -> Schema:
    first = {"type": "object", "properties": {"name": _string(rng), "n": {"type": "integer"}}, "required": ["name"]}
    second = {
        "properties": {"n": {"minimum": rng.randint(0, 50)}, "city": {"enum": ["Tessin", "Rom"]}},
        "required": ["n"],
    }
    return {"allOf": [first, second]}


def _recursive(rng: Random) -> Schema:
    tree = {
        "type": "object",
        "properties": {
            "value": _leaf(rng),
            "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2},
        },
        "required": ["value"],
        "additionalProperties": False,
    }
    return {"$ref": "#/$defs/tree", "$defs": {"tree": tree}}


def _map(rng: Random) -> Schema:
    return rng.choice(
        (
            {"type": "object", "additionalProperties": _leaf(rng), "maxProperties": 3},
            {"type": "object", "patternProperties": {"^[a-z]{1,4}$": _leaf(rng)}, "additionalProperties": False},
            {
                "type": "object",
                "properties": {"id": {"const": 1}},
                "additionalProperties": {"type": "string", "maxLength": 4},
            },
            {"type": "object", "minProperties": 1, "additionalProperties": {"type": "integer"}},
        )
    )


CLASSES: Mapping[str, Callable[[Random], Schema]] = {
    "flat": _flat,
    "string": _string,
    "number": _number,
    "choice": _choice,
    "array": _array,
    "nested": _nested,
    "union": _union,
    "together": _together,
    "recursive": _recursive,
    "map": _map,
}


def generated(count: int) -> dict[str, Schema]:
    """So many schemas, the same every time, by names that begin with their class."""
    schemas = {}
    for number in range(count):
        kind = list(CLASSES)[number % len(CLASSES)]
        schemas[f"{kind} {number}"] = CLASSES[kind](Random(f"schema {number}"))
    return schemas
