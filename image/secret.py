"""The API key of a deployment, for those who may read it."""

from __future__ import annotations

from handler.access.api_key import key_of
from image.aws import client, refusals


def read_secret(name: str, region: str) -> str:
    """Read the key, as the server does.

    Args:
        name: or ARN.
        region: where it is.

    Raises:
        AwsError: it can't be read.
        SecretUnusable: there is no key in it.
    """
    api = client("secretsmanager", region)
    with refusals("Secrets Manager", f"give the API key {name}"):
        text: str = api.get_secret_value(SecretId=name)["SecretString"]
    return key_of(text, name)
