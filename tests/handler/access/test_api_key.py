from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.access.api_key import key_of, key_reader
from handler.errors import SecretUnusable
from handler.settings import is_api_key
from tests.handler.secrets_manager import NAME, SecretsManager


def test_the_key_is_read_as_it_is_then(secrets: SecretsManager) -> None:
    read = key_reader(NAME, secrets.environ())
    assert read() == "first"
    secrets.put(json.dumps({"api_key": "second"}))
    assert read() == "second"


@pytest.mark.parametrize("text", ["key", '"key"', "7", "null", "{not json}", "k e y"])
def test_a_text_is_the_key(text: str) -> None:
    assert key_of(text, NAME) == text


@pytest.mark.parametrize("text", ['{"api_key": "key"}', '{"api_key": "key", "username": "u"}', ' {"api_key":"key"}\n'])
def test_an_object_has_it_as_a_member(text: str) -> None:
    assert key_of(text, NAME) == "key"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "geheim\n",
        "gehäim",
        "\x00geheim",
        '{"password": "geheim"}',
        '{"api_key": 7}',
        '{"api_key": ""}',
        '{"api_key": " geheim"}',
        '{"api_key": ["geheim"]}',
    ],
)
def test_what_no_header_can_carry_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(SecretUnusable, match=NAME) as caught:
        key_of(text, NAME)
    assert "geh" not in str(caught.value)


@given(st.text())
def test_any_text_is_a_key_or_refused(text: str) -> None:
    with suppress(SecretUnusable):
        assert is_api_key(key_of(text, NAME))
