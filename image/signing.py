"""AWS Signature Version 4 on the requests of OpenAI's client, by botocore's signer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from image.errors import NoCredentials

SERVICE = "lambda"
LOCAL = Credentials("test", "test")  # what the local Lambda takes unless told otherwise


def signer(credentials: Any, region: str) -> Callable[[Any], Any]:
    """What `auth` of an httpx client may be: signs a request for a function URL.

    Args:
        credentials: botocore's.
        region: of the function.
    """
    signature = SigV4Auth(credentials, SERVICE, region)

    def sign(request: Any) -> Any:
        # Only the host is signed besides SigV4's own headers: what else is sent on the way may change.
        headers = {"host": request.headers["host"]}
        signed = AWSRequest(request.method, str(request.url), data=request.content, headers=headers)
        signature.add_auth(signed)
        request.headers.update(dict(signed.headers))  # The key that OpenAI's client sends must give way.
        return request

    return sign


def credentials(local: bool) -> Any:
    """The credentials that the AWS tools of this machine use.

    Args:
        local: whether a local Lambda's may stand in for them.

    Raises:
        NoCredentials: there are none.
    """
    found = boto3.Session().get_credentials()
    if found is None and not local:
        raise NoCredentials("none found")
    return found or LOCAL
