"""boto3's clients, and its errors in one line each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from image.errors import AwsRefused, AwsUnreachable, NoCredentials, NoRegion, ToolMissing

EXPIRED = ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException")


def require_boto3() -> None:
    """Make sure that there is what talks to AWS.

    Raises:
        ToolMissing: there isn't.
    """
    if find_spec("boto3") is None:
        raise ToolMissing("boto3", "talks to AWS", "run `make tools`")


def client(service: str, region: str | None = None) -> Any:
    """A client with the credentials that the AWS tools of this machine use.

    Args:
        service: as boto3 names it.
        region: None for the environment's or the profile's.

    Raises:
        ToolMissing: boto3 isn't installed.
        NoRegion: there is no region anywhere.
        NoCredentials: a profile is named that isn't there.
    """
    require_boto3()
    import boto3
    from botocore.config import Config
    from botocore.exceptions import NoRegionError, ProfileNotFound

    config = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 3})
    try:
        return boto3.Session().client(service, region_name=region, config=config)
    except NoRegionError:
        raise NoRegion() from None
    except ProfileNotFound as error:
        raise NoCredentials(str(error)) from None


@contextmanager
def refusals(service: str, what: str) -> Iterator[None]:
    """Turn botocore's errors into ours.

    Args:
        service: who is asked.
        what: what is asked for, as in "log in".

    Raises:
        NoCredentials: there are none, or they have expired.
        AwsRefused: the service says no.
        AwsUnreachable: it says nothing.
    """
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise NoCredentials(str(error)) from None
    except ClientError as error:
        code, message = error.response["Error"].get("Code", "unknown"), error.response["Error"].get("Message", "")
        if code in EXPIRED:
            raise NoCredentials(message or code) from None
        raise AwsRefused(service, what, code, message) from None
    except BotoCoreError as error:
        raise AwsUnreachable(service, what, str(error)) from None
