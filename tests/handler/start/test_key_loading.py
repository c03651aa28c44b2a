from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from handler.access.keys import AnyKey, FixedKey, SecretKey
from handler.errors import SecretMissing, SettingsError
from handler.settings import Settings
from handler.start.key_loading import KeyLoading
from tests.handler.secrets_manager import NAME, SecretsManager


def loading(environ: dict[str, str] | None = None, **settings: Any) -> KeyLoading:
    made = KeyLoading(Settings(Path("."), **settings), environ or {})
    made.begin()
    return made


def test_without_a_key_everybody_may_ask() -> None:
    assert isinstance(loading().result(), AnyKey)


def test_a_key_of_the_settings_is_fixed() -> None:
    made = loading(api_key="key")
    assert isinstance(made.result(), FixedKey)
    assert made.parts == {}


def test_a_secrets_key_is_read(secrets: SecretsManager) -> None:
    made = loading(secrets.environ(), api_key_secret=NAME)
    keys = made.result()
    assert isinstance(keys, SecretKey)
    assert asyncio.run(keys.accepts(b"first"))
    assert made.parts.keys() == {"api_key_ms"}


def test_what_goes_wrong_is_raised_by_result(secrets: SecretsManager) -> None:
    with pytest.raises(SecretMissing):
        loading(secrets.environ(), api_key_secret="other").result()
    with pytest.raises(SettingsError, match="AWS_REGION"):
        loading({}, api_key_secret=NAME).result()
