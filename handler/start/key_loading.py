"""The API key at start-up: read beside the model's load if it is a secret."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from handler.settings import Settings
from handler.start.background import Background
from handler.start.parts import Parts

if TYPE_CHECKING:
    from handler.access.keys import Keys, SecretKey

NICE = 5  # Where processors are short, the model goes first: it takes longer.


class KeyLoading:
    """Finds out who may ask, once.

    Args:
        settings: Name the key, its secret, or neither.
        environ: Where AWS's region, endpoint and credentials are.

    Attributes:
        parts: How long it took in milliseconds, as `load_model` tells it; empty without a secret.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        self._reading: Background[SecretKey] | None = None
        self.parts = Parts()

    def begin(self) -> None:
        """Start what takes time."""
        secret = self._settings.api_key_secret
        if secret is not None:
            self._reading = Background(lambda: self._read(secret), NICE)

    def result(self) -> Keys:
        """Wait for what was begun.

        Raises:
            StartupError: The secret can't be read, or is no key.
        """
        from handler.access.keys import AnyKey, FixedKey

        if self._reading is not None:
            return self._reading.result()
        return FixedKey(self._settings.api_key) if self._settings.api_key is not None else AnyKey()

    def _read(self, secret: str) -> SecretKey:
        from handler.access.api_key import key_reader
        from handler.access.keys import SecretKey
        from handler.logs import Log

        read, log = key_reader(secret, self._environ), Log(sys.stdout)
        return self.parts.timed("api_key", lambda: SecretKey(read, self._settings.api_key_ttl_s, log))
