from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.text.json_text import Extent, is_object, read_members

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=4)


@given(OBJECTS, st.booleans(), st.sampled_from([None, 2]))
def test_members_are_read_as_they_are_written(value: dict[str, object], ascii: bool, indent: int | None) -> None:
    members = read_members(json.dumps(value, ensure_ascii=ascii, indent=indent))
    assert members is not None
    assert {key: json.loads(text) for key, text in members.items()} == value


@given(OBJECTS, st.text(), st.lists(st.integers(0, 200), max_size=5))
def test_an_objects_end_is_found_as_it_grows(value: dict[str, object], behind: str, cuts: list[int]) -> None:
    text = json.dumps(value)
    extent = Extent(1)
    for length in [*sorted(cuts), len(text) + len(behind) + 1]:
        extent.look(f"x{text}{behind}"[:length])
    assert extent.end == len(text) + 1


def test_the_first_object_inside_is_found() -> None:
    extent = Extent()
    extent.look('{"a": "{", "b": [{"c": 1}], "d": {')
    assert extent.inner == len('{"a": "{", "b": [{"c": 1}], "d": ')


@given(st.text(alphabet='{}[]",:1 \\ntrue', max_size=20))
def test_what_json_refuses_is_none(text: str) -> None:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    assert is_object(text) == isinstance(value, dict) or text != text.strip()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": NaN}', '{"a": 1,}', "{1: 2}", '{"a": 1} x', "[" * 100_000])
def test_other_texts_are_no_objects(text: str) -> None:
    assert not is_object(text)
