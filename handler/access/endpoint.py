"""Another address than AWS's own for a service, as AWS's tools take it from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from handler.errors import SettingsError


@dataclass(frozen=True)
class Endpoint:
    """Where a service is.

    Attributes:
        tls: Whether it is asked over TLS.
        host: Its name or address.
        port: None for the scheme's own.
    """

    tls: bool
    host: str
    port: int | None


def given_endpoint(service: str, environ: Mapping[str, str]) -> Endpoint | None:
    """Read AWS_ENDPOINT_URL_SERVICE, else AWS_ENDPOINT_URL; None where neither is set.

    Args:
        service: As in the variable's name, for example S3.
        environ: The environment.

    Raises:
        SettingsError: It is no URL of a host.
    """
    for key in (f"AWS_ENDPOINT_URL_{service}", "AWS_ENDPOINT_URL"):
        if environ.get(key):
            return _read(key, environ[key])
    return None


def _read(key: str, url: str) -> Endpoint:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SettingsError(key, url, "a URL such as https://HOST:PORT") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise SettingsError(key, url, "a URL such as https://HOST:PORT, without a path")
    return Endpoint(parts.scheme == "https", parts.hostname, port)
