"""Versions and aliases, as boto3 names them and as the function sees them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import botocore.exceptions
import httpx
import pytest

from image.local.qualifiers import Qualifiers, Target
from tests.image.local.lambda_process import FUNCTIONS, LocalLambda, local_lambda

ARN = "arn:aws:lambda:us-east-1:123456789012:function:firebrick"
CONTEXT = b'{"do": "context"}'


@pytest.fixture(scope="module")
def running() -> Iterator[LocalLambda]:
    with local_lambda("--command", FUNCTIONS, "--version", "7", "--alias", "live", "--alias", "next") as running:
        yield running


def invoke(running: LocalLambda, name: str, **options: str) -> tuple[str, dict[str, Any]]:
    answer = running.client().invoke(FunctionName=name, Payload=CONTEXT, **options)
    return answer["ExecutedVersion"], httpx.Response(200, content=answer["Payload"].read()).json()


@pytest.mark.parametrize(
    ("name", "version", "arn"),
    [
        ("firebrick", "$LATEST", ARN),
        ("firebrick:$LATEST", "$LATEST", ARN + ":$LATEST"),
        ("firebrick:live", "7", ARN + ":live"),
        ("firebrick:next", "7", ARN + ":next"),
        (ARN + ":7", "7", ARN + ":7"),
    ],
)
def test_names(running: LocalLambda, name: str, version: str, arn: str) -> None:
    executed, context = invoke(running, name)
    assert (executed, context["version"], context["arn"]) == (version, version, arn)


def test_a_qualifier_of_its_own(running: LocalLambda) -> None:
    executed, context = invoke(running, "firebrick", Qualifier="live")
    assert (executed, context["arn"]) == ("7", ARN + ":live")


def test_the_log_names_the_version(running: LocalLambda) -> None:
    answer = running.client().invoke(FunctionName="firebrick:live", Payload=b"{}")
    request_id = answer["ResponseMetadata"]["RequestId"]
    running.wait_for(lambda line: line == f"START RequestId: {request_id} Version: 7")


def test_the_function_url_is_the_first_aliases(running: LocalLambda) -> None:
    assert httpx.post(running.url, json={"do": "context"}).json()["arn"] == ARN + ":live"


@pytest.mark.parametrize("name", ["firebrick:8", "firebrick:other", "other:live"])
def test_what_is_not_there(running: LocalLambda, name: str) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match=f"function:{name}") as caught:
        invoke(running, name)
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_two_qualifiers_that_differ(running: LocalLambda) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match="does not match") as caught:
        invoke(running, "firebrick:live", Qualifier="7")
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValueException"


def test_what_the_url_and_the_queue_invoke() -> None:
    assert Qualifiers().served == Target()
    assert Qualifiers("3").served == Target("3", "3")
    assert Qualifiers("3", ("live", "next")).served == Target("3", "live")
