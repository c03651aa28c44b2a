"""AWS Signature Version 4, as far as it is needed here: requests without a query, a POST to / unless it is said.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Credentials:
    """Who signs.

    Attributes:
        access_key: Its public part.
        secret_key: Never sent, never shown.
        session_token: Of temporary credentials, as a function has them.
    """

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


def sign(
    headers: Mapping[str, str],
    body: bytes,
    credentials: Credentials,
    region: str,
    service: str,
    at: float,
    target: tuple[str, str] = ("POST", "/"),
) -> dict[str, str]:
    """Sign a request.

    Args:
        headers: What is sent, `host` included, by lower-case names; all of it is signed.
        body: As it is sent.
        credentials: Whose request it is.
        region: Of the service.
        service: Its name in signatures.
        at: Unix seconds; AWS refuses what is minutes off.
        target: Method and path, the latter as it is sent, percent-encoded once.

    Returns:
        The headers with `x-amz-date`, `x-amz-security-token` for temporary credentials, and `authorization`.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
    signed = {**headers, "x-amz-date": stamp}
    if credentials.session_token:
        signed["x-amz-security-token"] = credentials.session_token
    names = ";".join(sorted(signed))
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = "\n".join([ALGORITHM, stamp, scope, _digest(_canonical(target, signed, names, body))])
    signature = _mac(_signing_key(credentials.secret_key, scope), text).hex()
    authorization = f"{ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, "
    return {**signed, "authorization": authorization + f"Signature={signature}"}


def _canonical(target: tuple[str, str], headers: Mapping[str, str], names: str, body: bytes) -> bytes:
    lines = [f"{name}:{' '.join(headers[name].split())}" for name in sorted(headers)]
    return "\n".join([*target, "", *lines, "", names, _digest(body)]).encode()


def _signing_key(secret_key: str, scope: str) -> bytes:
    key = b"AWS4" + secret_key.encode()
    for part in scope.split("/"):
        key = _mac(key, part)
    return key


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
