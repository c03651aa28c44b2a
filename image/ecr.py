"""A repository in Amazon ECR: what is in it, and pushing into it."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any, Protocol

from image.aws import client, refusals
from image.engines import Engine
from image.errors import RepositoryInvalid

URL = re.compile(r"(?P<host>(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?)/(?P<name>.+)")


class Repository(Protocol):
    """Where images are pushed to."""

    def has(self, tag: str) -> bool:
        """Whether a tag is there; tags never move."""

    def push(self, engine: Engine, image: str, tag: str) -> None:
        """Push an image from the engine's storage."""


@dataclass(frozen=True)
class EcrRepository:
    """One in ECR. The password for it is asked for when something is pushed, and kept nowhere."""

    host: str
    account: str
    region: str
    name: str

    def has(self, tag: str) -> bool:
        """Whether a tag is there.

        Raises:
            AwsError: ECR can't be asked.
        """
        api = self._client()
        with refusals("ECR", f"list the images of {self.name}"):
            try:
                api.describe_images(repositoryName=self.name, registryId=self.account, imageIds=[{"imageTag": tag}])
            except api.exceptions.ImageNotFoundException:
                return False
        return True

    def push(self, engine: Engine, image: str, tag: str) -> None:
        """Push an image.

        Raises:
            AwsError: ECR gives no password.
            CommandFailed: the engine can't push.
        """
        with refusals("ECR", "log in"):
            answer = self._client().get_authorization_token()
        user, password = _credentials(answer["authorizationData"][0]["authorizationToken"])
        engine.log_in(self.host, user, password)
        engine.push(image, f"{self.host}/{self.name}:{tag}")

    def _client(self) -> Any:
        return client("ecr", self.region)


def parse_repository(url: str) -> EcrRepository:
    """Read a repository's URL, as Terraform and the ECR console show it.

    Raises:
        RepositoryInvalid: it is none.
    """
    found = URL.fullmatch(url)
    if found is None:
        raise RepositoryInvalid(url)
    return EcrRepository(found["host"], found["account"], found["region"], found["name"])


def _credentials(token: str) -> tuple[str, str]:
    try:
        user, _, password = base64.b64decode(token, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "AWS", token
    return user, password
