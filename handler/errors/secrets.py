"""What keeps the API key in its secret."""

from __future__ import annotations

from handler.errors.base import StartupError


class SecretError(StartupError):
    """The API key can't be read from Secrets Manager; after a start, it is tried again later."""

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(text.split()))  # It quotes what others wrote, and stays one line.


class CredentialsUnavailable(SecretError):
    """There is nothing to sign a call with."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"no AWS credentials for FIREBRICK_API_KEY_SECRET: {reason}; Lambda sets them for the role")


class SecretMissing(SecretError):
    """Secrets Manager has no such secret, or no longer."""

    def __init__(self, id: str, region: str, reason: str) -> None:
        super().__init__(
            f"FIREBRICK_API_KEY_SECRET={id!r} can't be found in {region} ({reason}): create it there, or give its ARN"
        )


class SecretForbidden(SecretError):
    """The role may not read the secret."""

    def __init__(self, id: str, region: str, reason: str) -> None:
        super().__init__(
            f"FIREBRICK_API_KEY_SECRET={id!r} in {region} may not be read ({reason}): the role needs "
            "secretsmanager:GetSecretValue on it, and kms:Decrypt if it is encrypted with a key of your own"
        )


class SecretsUnreachable(SecretError):
    """Secrets Manager doesn't answer."""

    def __init__(self, id: str, region: str, host: str, reason: str) -> None:
        super().__init__(
            f"FIREBRICK_API_KEY_SECRET={id!r}: Secrets Manager in {region} can't be reached at {host} ({reason}): a "
            "function in a VPC needs a VPC endpoint for secretsmanager, or a NAT gateway"
        )


class SecretRefused(SecretError):
    """Secrets Manager answers with an error that no other class is for."""

    def __init__(self, id: str, region: str, reason: str) -> None:
        super().__init__(
            f"FIREBRICK_API_KEY_SECRET={id!r} in {region} was refused by Secrets Manager ({reason}): check the name, "
            "or set AWS_ENDPOINT_URL_SECRETS_MANAGER if it lies elsewhere"
        )


class SecretUnusable(SecretError):
    """The secret's value is no API key; it is never shown."""

    def __init__(self, id: str, reason: str) -> None:
        super().__init__(
            f"FIREBRICK_API_KEY_SECRET={id!r} holds no API key: {reason}; store the key itself, or a JSON object with "
            "it as api_key, in printable ASCII characters without blanks around"
        )
