"""A secret for the server's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.handler.secrets_manager import SecretsManager, moto_server, secrets_manager


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """One server of moto for all."""
    with moto_server() as url:
        yield url


@pytest.fixture
def secrets(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretsManager]:
    """A new secret, `first`, whose readers have time, for a busy machine is no failure."""
    for name in (
        "handler.access.secret.CONNECT_TIMEOUT_S",
        "handler.access.secret.READ_TIMEOUT_S",
        "handler.access.keys.WAIT_S",
    ):
        monkeypatch.setattr(name, 60.0)
    with secrets_manager(moto_url) as made:
        yield made
