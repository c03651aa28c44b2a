"""An answer by schema is valid by it, in its order, and says what the text says."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import jsonschema
import pytest

from demo.offers import SCHEMA_HEAD
from demo.schemas import answering, reading
from demo.words import Dialogue


def announced(dialogue: Dialogue) -> dict[str, Any]:
    """The schema of the system turn."""
    found: dict[str, Any] = json.loads(dialogue[0]["content"].partition(SCHEMA_HEAD)[2])
    return found


def leaves(value: object) -> list[object]:
    """The values inside of objects and arrays."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return [value] if inner is None else [leaf for part in inner for leaf in leaves(part)]


@pytest.mark.parametrize("seed", range(400))
def test_the_object_is_valid_in_order_and_said_by_the_text(seed: int) -> None:
    dialogue = reading(Random(seed), seed % 2 == 0)
    schema = announced(dialogue)
    for question, answer in zip(dialogue[1::2], dialogue[2::2], strict=True):
        found = json.loads(answer["content"])
        jsonschema.validate(found, schema)
        assert list(found) == list(schema["properties"])
        said = [leaf for leaf in leaves(found) if leaf is not None and not isinstance(leaf, bool)]
        assert all(str(leaf).lower() in question["content"].lower() for leaf in said)


@pytest.mark.parametrize("seed", range(50))
def test_a_fact_can_be_an_object_s_one_string(seed: int) -> None:
    dialogue = answering(Random(seed), False)
    jsonschema.validate(json.loads(dialogue[-1]["content"]), announced(dialogue))


def test_schemas_come_with_titles_definitions_and_nested_objects() -> None:
    texts = [reading(Random(seed), False)[0]["content"] for seed in range(300)]
    for sign in ('"title": ', '"$defs": ', '"additionalProperties": false', '"enum": ', '"array"', '"null"'):
        assert any(sign in text for text in texts), sign
