"""The API key of a deployment, read by whoever may."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from image.errors import AwsRefused
from image.secret import read_secret
from tests.image.aws import moto_server, point_to


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with moto_server() as endpoint:
        point_to(endpoint, monkeypatch, tmp_path)
        yield


@pytest.mark.parametrize("text", ["a-key", '{"api_key": "a-key"}'])
def test_the_key_is_the_text_or_a_member_of_it(text: str) -> None:
    boto3.client("secretsmanager").create_secret(Name="firebrick/api-key", SecretString=text)
    assert read_secret("firebrick/api-key", "us-east-1") == "a-key"


def test_a_secret_that_is_not_there_is_named() -> None:
    with pytest.raises(AwsRefused, match="give the API key firebrick/api-key: ResourceNotFound"):
        read_secret("firebrick/api-key", "us-east-1")
