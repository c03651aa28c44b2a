"""The API key that lies in a secret."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from handler.access.secret import find_secret, read_secret
from handler.errors import SecretUnusable
from handler.settings import is_api_key

MEMBER = "api_key"


def key_reader(id: str, environ: Mapping[str, str]) -> Callable[[], str]:
    """Make a function that reads the key as it is then.

    Args:
        id: The secret's name or ARN.
        environ: Where AWS's region, endpoint and credentials are.

    Returns:
        A function that waits for the network and raises a `SecretError` if there is no key.

    Raises:
        SettingsError: The environment has no region, or no proper endpoint.
    """
    secret = find_secret(id, environ)
    return lambda: key_of(read_secret(secret, environ), id)


def key_of(text: str, id: str) -> str:
    """Take the key out of a secret's text: the text itself, or a member of a JSON object, as consoles write it.

    Args:
        text: The secret's.
        id: The secret's name, for the error.

    Raises:
        SecretUnusable: There is no key in it; the text isn't shown.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    key = value.get(MEMBER) if isinstance(value, dict) else text
    if not isinstance(key, str):
        raise SecretUnusable(id, f"its JSON object has no text as {MEMBER}")
    if not is_api_key(key):
        raise SecretUnusable(id, "a header can't carry its value")
    return key
