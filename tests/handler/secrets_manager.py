"""A real Secrets Manager: moto's server, which checks signatures and policies if it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import httpx
from moto.secretsmanager.models import SecretsManagerBackend
from moto.server import ThreadedMotoServer

REGION = "us-east-1"
NAME = "firebrick/api-key"
ADMIN = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


class SecretsManager:
    """One region with one secret.

    Attributes:
        url: The endpoint.
        arn: The secret's.
        reads: How often a secret was asked for.
        open: While this is cleared, who asks for a secret has to wait.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.reads = 0
        self.open = threading.Event()
        self.open.set()
        self._client = self._connect("secretsmanager")
        self.arn: str = self._client.create_secret(Name=NAME, SecretString="first")["ARN"]

    def environ(self, **others: str) -> dict[str, str]:
        """What a process needs to find it."""
        return {**ADMIN, "AWS_REGION": REGION, "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.url, **others}

    def put(self, value: str) -> None:
        """Rotate the secret."""
        self._client.put_secret_value(SecretId=NAME, SecretString=value)

    def put_binary(self, value: bytes) -> None:
        """Make it one without a text."""
        self._client.put_secret_value(SecretId=NAME, SecretBinary=value)

    def delete(self, window_days: int | None = None) -> None:
        """Delete it, at once or after some days."""
        how: dict[str, Any] = {"RecoveryWindowInDays": window_days} if window_days else {}
        self._client.delete_secret(SecretId=NAME, **(how or {"ForceDeleteWithoutRecovery": True}))

    def user(self, allowed: bool) -> dict[str, str]:
        """Make a user's keys, and check every call's signature and rights from now on."""
        iam = self._connect("iam")
        iam.create_user(UserName="function")
        key = iam.create_access_key(UserName="function")["AccessKey"]
        if allowed:
            right = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [right]})
            iam.put_user_policy(UserName="function", PolicyName="read", PolicyDocument=policy)
        httpx.post(f"{self.url}/moto-api/reset-auth", content=b"0").raise_for_status()
        iam.close()
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def close(self) -> None:
        """Forget all."""
        self.open.set()
        self._client.close()
        httpx.post(f"{self.url}/moto-api/reset-auth", content=b"inf").raise_for_status()
        httpx.post(f"{self.url}/moto-api/reset").raise_for_status()

    def _connect(self, service: str) -> Any:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client(service, endpoint_url=self.url, region_name=REGION, **keys)


@contextmanager
def moto_server() -> Iterator[str]:
    """Run moto; gives its URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@contextmanager
def secrets_manager(url: str) -> Iterator[SecretsManager]:
    """A secret in the server, whose reads are counted and can be held up."""
    made = SecretsManager(url)
    real = SecretsManagerBackend.get_secret_value

    def counted(*arguments: Any, **others: Any) -> Any:
        made.reads += 1
        made.open.wait(60)
        return real(*arguments, **others)

    SecretsManagerBackend.get_secret_value = counted  # type: ignore[method-assign]
    try:
        yield made
    finally:
        SecretsManagerBackend.get_secret_value = real  # type: ignore[method-assign]
        made.close()
