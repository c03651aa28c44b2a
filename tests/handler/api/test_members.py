from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given

from handler.api.members import Members, parse_object
from handler.errors import ApiError, InvalidType, InvalidValue, NumberTooLong
from tests.handler.api.bodies import ANY_JSON


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"model": NaN}',
        b'{"model": Infinity}',
        b'{"n": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse_object(body)
    assert caught.value.status == 400


def test_a_number_that_python_cannot_read_is_refused_without_pythons_advice() -> None:
    with pytest.raises(NumberTooLong) as caught:
        parse_object(b'{"seed": ' + b"9" * 5000 + b"}")
    assert "sys." not in str(caught.value)


@given(ANY_JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    with suppress(ApiError):
        assert parse_object(json.dumps(value).encode()) == value


def test_an_overflowing_number_is_refused() -> None:
    with pytest.raises(InvalidValue) as caught:
        Members(parse_object(b'{"temperature": 1e400}')).number("temperature", 0, 2)
    assert caught.value.param == "temperature"


def test_the_last_of_duplicated_keys_counts() -> None:
    assert parse_object(b'{"model": "x", "model": "name"}') == {"model": "name"}


def test_a_whole_float_is_an_integer() -> None:
    assert Members({"max_tokens": 3.0}).integer("max_tokens", 1) == 3


@pytest.mark.parametrize("value", [True, "3", 1.5, [3]])
def test_a_refusal_has_the_whole_path(value: Any) -> None:
    with pytest.raises(InvalidType) as caught:
        Members({"n": value}, "messages[0].").integer("n", 1)
    assert caught.value.param == "messages[0].n"
