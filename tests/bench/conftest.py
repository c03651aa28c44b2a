"""moto's server, where a bench changes what is deployed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.handler.secrets_manager import moto_server


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """One server of moto for all."""
    with moto_server() as url:
        yield url
