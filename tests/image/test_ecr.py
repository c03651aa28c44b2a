"""A repository in ECR, which moto's server plays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from image.ecr import EcrRepository, parse_repository
from image.engines import Engine
from image.errors import AwsRefused, AwsUnreachable, NoCredentials, RepositoryInvalid
from tests.image.aws import moto_server, point_to

URL = "123456789012.dkr.ecr.us-east-1.amazonaws.com/firebrick"
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": []})


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[EcrRepository]:
    with moto_server() as endpoint:
        point_to(endpoint, monkeypatch, tmp_path)
        boto3.client("ecr").create_repository(repositoryName="firebrick")
        yield parse_repository(URL)


class Recorded(Engine):
    """An engine that notes what it is told."""

    def __init__(self) -> None:
        super().__init__("podman")
        object.__setattr__(self, "told", [])

    def log_in(self, host: str, user: str, password: str) -> None:
        self.__dict__["told"].append(("log in", host, user, password))

    def push(self, image: str, reference: str) -> None:
        self.__dict__["told"].append(("push", image, reference))


def test_a_url_tells_host_account_region_and_name() -> None:
    assert parse_repository(URL) == EcrRepository(URL.split("/")[0], "123456789012", "us-east-1", "firebrick")


@pytest.mark.parametrize("url", ["", "firebrick", "docker.io/library/firebrick", URL.replace("ecr", "ecs")])
def test_what_names_no_repository_is_refused(url: str) -> None:
    with pytest.raises(RepositoryInvalid, match="expected ACCOUNT"):
        parse_repository(url)


def test_a_tag_is_there_once_it_was_pushed(repository: EcrRepository) -> None:
    assert not repository.has("stream-1")
    boto3.client("ecr").put_image(repositoryName="firebrick", imageManifest=MANIFEST, imageTag="stream-1")
    assert repository.has("stream-1")


def test_pushing_logs_in_with_the_password_of_the_hour(repository: EcrRepository) -> None:
    engine = Recorded()
    repository.push(engine, "firebrick:stream", "stream-1")
    assert engine.__dict__["told"] == [
        ("log in", repository.host, "AWS", "123456789012-auth-token"),
        ("push", "firebrick:stream", f"{URL}:stream-1"),
    ]


def test_a_repository_that_is_not_there_is_told_in_ecrs_words(repository: EcrRepository) -> None:
    with pytest.raises(AwsRefused, match="ECR refused to list the images of other: RepositoryNotFound"):
        parse_repository(URL.replace("/firebrick", "/other")).has("stream-1")


def test_without_credentials_it_says_how_to_get_some(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    point_to("http://127.0.0.1:1", monkeypatch, tmp_path, keys=False)
    with pytest.raises(NoCredentials, match="aws configure"):
        parse_repository(URL).has("stream-1")


def test_no_answer_names_the_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    point_to("http://127.0.0.1:1", monkeypatch, tmp_path)
    with pytest.raises(AwsUnreachable, match="ECR gave no answer when asked to list"):
        parse_repository(URL).has("stream-1")
