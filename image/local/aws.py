"""Calls of AWS's own APIs, or of what AWS_ENDPOINT_URL names instead, with errors that say what to do."""

from __future__ import annotations

from typing import Any

from image.local.errors import StartError

CONNECT_S, READ_S, ATTEMPTS = 3, 30, 2


class CredentialsMissing(StartError):
    """botocore finds no keys, or only a part of them."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no credentials for AWS ({reason}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")


class EndpointUnusable(StartError):
    """An endpoint doesn't answer, or not as AWS does."""

    def __init__(self, service: str, reason: str) -> None:
        super().__init__(f"cannot call {service}: {reason}; AWS_ENDPOINT_URL names another endpoint than AWS's own")


class CallRefused(StartError):
    """AWS answered with an error.

    Attributes:
        code: AWS's, such as `ResourceNotFoundException`.
    """

    def __init__(self, operation: str, code: str, message: str) -> None:
        super().__init__(f"{operation} was refused: {code}: {message}")
        self.code = code


def make_client(service: str, region: str) -> Any:
    """Make a client for `lambda` or `sqs`; endpoint and keys come from the environment, as botocore reads it.

    Raises:
        EndpointUnusable: The endpoint is no address.
    """
    # Only who uses AWS waits for this import.
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(connect_timeout=CONNECT_S, read_timeout=READ_S, retries={"total_max_attempts": ATTEMPTS})
    try:
        return boto3.Session().client(service, region, config=config)
    except (BotoCoreError, ValueError) as error:
        raise EndpointUnusable(service, str(error)) from error


def call(client: Any, operation: str, **parameters: Any) -> dict[str, Any]:
    """Call an operation, by its name in boto3.

    Raises:
        CredentialsMissing: There are no keys to sign with.
        CallRefused: AWS answered with an error.
        EndpointUnusable: Nobody answered, or not as AWS does.
    """
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    try:
        answer: dict[str, Any] = getattr(client, operation)(**parameters)
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise CredentialsMissing(str(error)) from error
    except ClientError as error:
        described = error.response.get("Error", {})
        message = " ".join(str(described.get("Message", error)).split())
        raise CallRefused(error.operation_name, str(described.get("Code", "Unknown")), message) from error
    except BotoCoreError as error:
        raise EndpointUnusable(client.meta.service_model.service_name, " ".join(str(error).split())) from error
    return answer
