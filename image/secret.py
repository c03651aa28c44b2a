"""The API key of a deployment, for those who may read it."""

from __future__ import annotations

from image.aws import client, refusals


def read_secret(name: str, region: str) -> str:
    """Read a secret's current value.

    Args:
        name: or ARN.
        region: where it is.

    Raises:
        AwsError: it can't be read.
    """
    api = client("secretsmanager", region)
    with refusals("Secrets Manager", f"give the API key {name}"):
        value: str = api.get_secret_value(SecretId=name)["SecretString"]
    return value
