"""Where the credentials of the function's role are: in the environment, or behind an address that it names."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from handler.access.signature import Credentials
from handler.errors import CredentialsUnavailable

TASK_HOST = "http://169.254.170.2"  # of AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, as ECS sets it
TIMEOUT_S = 2.0
LARGEST = 2**16  # bytes


def find_credentials(environ: Mapping[str, str]) -> Credentials:
    """Find the credentials; those behind an address are asked for each time, since they expire.

    Lambda sets AWS_ACCESS_KEY_ID and its companions, or an address where SnapStart is on
    (https://docs.aws.amazon.com/lambda/latest/dg/snapstart-activate.html); ECS and EKS set an address
    (https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html).

    Raises:
        CredentialsUnavailable: There are none.
    """
    access_key, secret_key = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if access_key and secret_key:
        return Credentials(access_key, secret_key, environ.get("AWS_SESSION_TOKEN") or None)
    relative = environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    url = TASK_HOST + relative if relative else environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if not url:
        raise CredentialsUnavailable(
            "neither AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set"
        )
    try:
        given = json.loads(_get(url, _token(environ)))
        return Credentials(given["AccessKeyId"], given["SecretAccessKey"], given.get("Token"))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CredentialsUnavailable(f"{url} gives none ({type(error).__name__}: {error})") from None


def _token(environ: Mapping[str, str]) -> str | None:
    file = environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")  # EKS writes a new one from time to time.
    return Path(file).read_text().strip() if file else environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")


def _get(url: str, token: str | None) -> bytes:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError("expected http://HOST/PATH")
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"Authorization": token} if token else {})
        answer = connection.getresponse()
        content = answer.read(LARGEST)
        if answer.status != 200:
            raise ValueError(f"status {answer.status}")
        return content
    finally:
        connection.close()
