"""A secret of AWS Secrets Manager, read with the standard library: botocore would take longer than the whole start.

https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any

from handler.access.credentials import find_credentials
from handler.access.endpoint import given_endpoint
from handler.access.signature import sign
from handler.errors import (
    SecretError,
    SecretForbidden,
    SecretMissing,
    SecretRefused,
    SecretsUnreachable,
    SecretUnusable,
    SettingsError,
)

SERVICE = "secretsmanager"
CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 5.0
ATTEMPTS = 2
LARGEST = 2**20  # bytes of an answer; a secret has 64 KiB at most
MISSING = ("ResourceNotFoundException", "InvalidRequestException")  # the latter: it waits for its deletion
# https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html, in both of AWS's spellings
BUSY = ("Throttling", "ThrottlingException", "TooManyRequestsException")
FORBIDDEN = (
    "AccessDenied",
    "AccessDeniedException",
    "DecryptionFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
    "UnrecognizedClientException",
)


@dataclass(frozen=True)
class Secret:
    """Where a secret is.

    Attributes:
        id: Its name or ARN.
        region: In which it lies.
        tls: Whether its endpoint is spoken to in TLS.
        host: The endpoint's.
        port: The endpoint's; None for the scheme's own.
    """

    id: str
    region: str
    tls: bool
    host: str
    port: int | None


def find_secret(id: str, environ: Mapping[str, str]) -> Secret:
    """Tell where a secret is.

    Args:
        id: Its name or ARN, in a form that the settings take.
        environ: AWS_REGION for a name; AWS_ENDPOINT_URL_SECRETS_MANAGER or AWS_ENDPOINT_URL for another endpoint than
            the region's.

    Raises:
        SettingsError: There is no region, or the endpoint is no URL.
    """
    given = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
    region = id.split(":")[3] if id.startswith("arn:") else given
    if not re.fullmatch(r"[a-z0-9-]{1,64}", region, re.ASCII):
        raise SettingsError("AWS_REGION", region, f"the region of the secret {id!r}, as Lambda sets it")
    if (endpoint := given_endpoint("SECRETS_MANAGER", environ)) is not None:
        return Secret(id, region, endpoint.tls, endpoint.host, endpoint.port)
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return Secret(id, region, True, f"{SERVICE}.{region}.{suffix}", None)


def read_secret(secret: Secret, environ: Mapping[str, str]) -> str:
    """Read a secret's text of now (AWSCURRENT); waits for the network, with one more attempt.

    Args:
        secret: Which.
        environ: Where the credentials are.

    Raises:
        CredentialsUnavailable: There is nothing to sign with.
        SecretMissing: There is no such secret.
        SecretForbidden: The role may not read it.
        SecretsUnreachable: Secrets Manager doesn't answer.
        SecretRefused: It answers with another error.
        SecretUnusable: The secret is no text.
    """
    status, answer = _ask(secret, environ)
    if status != 200:
        raise _refusal(secret, status, answer)
    text = answer.get("SecretString")
    if not isinstance(text, str):
        raise SecretUnusable(secret.id, "its value is no text (SecretString)")
    return text


def _ask(secret: Secret, environ: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """Ask until there is an answer that another attempt wouldn't change."""
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            status, body = _post(secret, environ)
        except (OSError, HTTPException) as error:
            reason = f"{type(error).__name__}: {error}"
            continue
        answer = _parse(body)
        if status < 500 and _code(answer) not in BUSY:
            return status, answer
        reason = f"status {status} {_code(answer)}"
    raise SecretsUnreachable(secret.id, secret.region, secret.host, reason)


def _post(secret: Secret, environ: Mapping[str, str]) -> tuple[int, bytes]:
    body = json.dumps({"SecretId": secret.id}).encode()
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": secret.host if secret.port is None else f"{secret.host}:{secret.port}",
        "x-amz-target": "secretsmanager.GetSecretValue",
    }
    signed = sign(headers, body, find_credentials(environ), secret.region, SERVICE, time.time())
    connect = HTTPSConnection if secret.tls else HTTPConnection
    connection = connect(secret.host, secret.port, timeout=CONNECT_TIMEOUT_S)
    try:
        connection.connect()
        connection.sock.settimeout(READ_TIMEOUT_S)
        connection.request("POST", "/", body, signed)
        answer = connection.getresponse()
        return answer.status, answer.read(LARGEST)
    finally:
        connection.close()


def _parse(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    return answer if isinstance(answer, dict) else {}


def _code(answer: Mapping[str, Any]) -> str:
    return str(answer.get("__type", "")).rsplit("#")[-1]  # Some services write a namespace before it.


def _refusal(secret: Secret, status: int, answer: Mapping[str, Any]) -> SecretError:
    code = _code(answer)
    told = str(answer.get("message") or answer.get("Message") or "no reason given")[:500]
    reason = f"status {status} {code}: {told}"
    if code in MISSING:
        return SecretMissing(secret.id, secret.region, reason)
    if code in FORBIDDEN or status in (401, 403):
        return SecretForbidden(secret.id, secret.region, reason)
    return SecretRefused(secret.id, secret.region, reason)
