"""JSON Schema as its authors write it → the part of it that llguidance enforces, or a refusal that names the place.

What comes out is never wider than what came in: an answer that follows it is valid by the schema. Keywords that no
vocabulary has are annotations and left out, as the specification wants (https://json-schema.org/draft/2020-12).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from handler.text.formats import FORMATS, STANDARD
from handler.text.keywords import CHECKS, SchemaRefused, check_pattern, checked, escaped

DEEPEST = 64  # levels of a schema
MOST = 2_000  # schemas in a schema: as many properties take 0.5 s to compile, and twice as many four times that
REFS = "$defs"
# They hold wherever they stand beside others; what they have evaluated isn't known before the answer is there.
_IN_PLACE = ("allOf", "anyOf", "oneOf", "$ref", "if")
_REFUSED = {
    "not": "what an answer must not be can't be enforced",
    "if": "conditions can't be enforced; use anyOf",
    "dependentRequired": "it can't be enforced; use anyOf",
    "dependentSchemas": "it can't be enforced; use anyOf",
    "dependencies": "it can't be enforced; use anyOf",
    "propertyNames": "names can be bound by patternProperties with additionalProperties = false only",
    "contains": "it can't be enforced",
    "uniqueItems": "it can't be enforced",
    "unevaluatedProperties": "beside other schemas it can't be enforced; use additionalProperties",
    "unevaluatedItems": "beside other schemas it can't be enforced; use items",
    "$dynamicRef": "only $ref is followed",
    "$recursiveRef": "only $ref is followed",
}
# With these values they ask for nothing.
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "uniqueItems": (False,),
    "propertyNames": (True, {}, {"type": "string"}),
    "dependentRequired": ({},),
    "dependentSchemas": ({},),
    "dependencies": ({},),
    "unevaluatedProperties": (True, {}),
    "unevaluatedItems": (True, {}),
    "not": (False,),
}


def enforceable(schema: object, place: str = "#") -> Any:
    """Rewrite a schema for llguidance.

    Args:
        schema: As the request has it; left as it is.
        place: A JSON pointer to the part of it that is wanted.

    Returns:
        An object or a boolean.

    Raises:
        SchemaRefused: It is malformed, or has a keyword that can't be enforced.
    """
    return _Rewriting(schema).part(place)


def places(schema: object) -> Sequence[str]:
    """Point to all schemas in a schema that `enforceable` takes, the innermost first."""
    rewriting = _Rewriting(schema)
    rewriting.part("#")
    return rewriting.places


class _Rewriting:
    def __init__(self, schema: object) -> None:
        self._schema = schema
        self._anchors: dict[str, tuple[str, object]] | None = None
        self._names: dict[str, str] = {}  # a reference's target, as a pointer → its name among the definitions
        self._waiting: list[tuple[str, object]] = []
        self._opened: list[str] = []
        self.places: list[str] = []

    def part(self, place: str) -> Any:
        root = self._rewritten(self._resolved(place, place)[1], place, 0)
        definitions: dict[str, Any] = {}
        while self._waiting:
            pointer, target = self._waiting.pop()
            definitions[self._names[pointer]] = self._rewritten(target, pointer, 0)
        return {**root, REFS: definitions} if definitions else root

    def _rewritten(self, schema: object, place: str, depth: int) -> Any:
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise SchemaRefused(place, "a schema is an object, true or false")
        if depth > DEEPEST:
            raise SchemaRefused(place, f"it is nested more than {DEEPEST} levels deep")
        if len(self.places) >= MOST:
            raise SchemaRefused(place, f"there are more than {MOST} schemas in it")
        if "$id" in schema and place != "#":
            raise SchemaRefused(f"{place}/$id", "a schema inside a schema can't have a base of its own")
        schema = _alone(schema)
        result: dict[str, Any] = {}
        for keyword, value in schema.items():
            if keyword in _REFUSED and not _asks_nothing(keyword, value, schema):
                raise SchemaRefused(f"{place}/{keyword}", _REFUSED[keyword])
            for name, rewritten in self._keyword(keyword, value, schema, f"{place}/{escaped(keyword)}", depth + 1):
                if name in result:  # a format adds a bound or a pattern beside the schema's own
                    result = {"allOf": [result, {name: rewritten}]}
                else:
                    result[name] = rewritten
        self.places.append(place)
        return result

    def _keyword(
        self, keyword: str, value: Any, schema: Mapping[str, Any], place: str, depth: int
    ) -> Iterator[tuple[str, Any]]:
        if keyword in ("properties", "patternProperties"):
            members = checked(value, dict, place, "an object").items()
            for name in value if keyword == "patternProperties" else ():
                check_pattern(name, place)
            yield keyword, {k: self._rewritten(v, f"{place}/{escaped(k)}", depth) for k, v in members}
        elif keyword in ("allOf", "anyOf", "oneOf", "prefixItems") or (keyword == "items" and isinstance(value, list)):
            inner = enumerate(checked(value, list, place, "an array"))
            open_ = self._opened_option if keyword == "oneOf" else self._rewritten
            yield keyword, [open_(v, f"{place}/{at}", depth) for at, v in inner]
        elif keyword in ("items", "additionalProperties", "additionalItems"):
            yield keyword, self._rewritten(value, place, depth)
        elif keyword == "$ref":
            yield keyword, self._reference(value, place)
        elif keyword == "format":
            yield from _format(value, schema, place)
        elif keyword in CHECKS:
            yield keyword, CHECKS[keyword](value, schema, place)

    def _reference(self, reference: object, place: str) -> str:
        pointer, target = self._resolved(checked(reference, str, place, "a string"), place)
        if pointer not in self._names:
            self._names[pointer] = f"r{len(self._names)}"
            self._waiting.append((pointer, target))
        return f"#/{REFS}/{self._names[pointer]}"

    def _opened_option(self, schema: object, place: str, depth: int) -> Any:
        """Write what an option of oneOf refers to in its place: only then can it be told from the others."""
        if not (isinstance(schema, dict) and set(schema) == {"$ref"} and isinstance(schema["$ref"], str)):
            return self._rewritten(schema, place, depth)
        pointer, target = self._resolved(schema["$ref"], f"{place}/$ref")
        if pointer in self._opened:
            return self._rewritten(schema, place, depth)
        self._opened.append(pointer)
        result = self._rewritten(target, pointer, depth)
        self._opened.pop()
        return result

    def _resolved(self, reference: str, place: str) -> tuple[str, object]:
        base, _, fragment = reference.partition("#")
        root = self._schema
        if base and base != (root.get("$id") if isinstance(root, dict) else None):
            raise SchemaRefused(place, f"{reference!r} is another document, and only this one is read")
        fragment = unquote(fragment)
        if fragment and not fragment.startswith("/"):
            if self._anchors is None:
                self._anchors = dict(_anchors(root, "#"))
            if fragment not in self._anchors:
                raise SchemaRefused(place, f"there is no $anchor {fragment!r}")
            return self._anchors[fragment]
        target: Any = root
        for step in fragment.split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(target, dict) and step in target:
                target = target[step]
            elif isinstance(target, list) and step.isdecimal() and int(step) < len(target):
                target = target[int(step)]
            else:
                raise SchemaRefused(place, f"{reference!r} points nowhere")
        return f"#{fragment}", target


def _anchors(schema: object, place: str, depth: int = 0) -> Iterator[tuple[str, tuple[str, object]]]:
    if depth > DEEPEST:
        raise SchemaRefused(place, f"it is nested more than {DEEPEST} levels deep")
    if isinstance(schema, dict):
        if isinstance(schema.get("$anchor"), str):
            yield schema["$anchor"], (place, schema)
        for key, value in schema.items():
            yield from _anchors(value, f"{place}/{escaped(key)}", depth + 1) if key not in ("const", "enum") else ()
    elif isinstance(schema, list):
        for at, value in enumerate(schema):
            yield from _anchors(value, f"{place}/{at}", depth + 1)


def _alone(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where a schema stands alone, what it hasn't evaluated is what is additional."""
    result = dict(schema)
    if "prefixItems" in result:
        result.pop("additionalItems", None)  # of an older draft: it would hide them
    if any(keyword in schema for keyword in _IN_PLACE):
        return result
    for unevaluated, additional in (("unevaluatedProperties", "additionalProperties"), ("unevaluatedItems", "items")):
        if unevaluated in result:
            value = result.pop(unevaluated)
            result.setdefault(additional, value)
    return result


def _asks_nothing(keyword: str, value: object, schema: Mapping[str, Any]) -> bool:
    if keyword == "if":
        return "then" not in schema and "else" not in schema
    return any(value == neutral and type(value) is type(neutral) for neutral in _NEUTRAL.get(keyword, ()))


def _format(value: object, schema: Mapping[str, Any], place: str) -> Iterator[tuple[str, Any]]:
    name = checked(value, str, place, "a string")
    if name not in FORMATS and name not in STANDARD and "pattern" in schema:
        return  # the library's name for what the pattern says
    if name not in FORMATS:
        raise SchemaRefused(place, f"the format {name!r} isn't known; known are {', '.join(sorted(FORMATS))}")
    yield from FORMATS[name].items()
