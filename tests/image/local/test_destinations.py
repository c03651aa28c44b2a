from __future__ import annotations

import asyncio

import pytest

from image.local.aws import EndpointUnusable
from image.local.destinations import Destinations, DestinationUnusable, Outcome, dead_letter_attributes
from image.local.invocation import Call
from image.local.settings import Asynchronous, Settings
from tests.image.local.conftest import Aws


@pytest.fixture(autouse=True)
def environ(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in aws.environ.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("destination", "reason"),
    [
        ("arn:aws:sns:us-east-1:123456789012:topic", "only SQS"),
        ("arn:aws:lambda:us-east-1:123456789012:function:f", "only SQS"),
        ("jobs", "only SQS"),
        ("arn:aws:sqs:us-east-1:123456789012:jobs.fifo", "no FIFO"),
        ("arn:aws:sqs:us-east-1:123456789012:not-there", "NonExistentQueue"),
    ],
)
def test_destinations_that_cannot_be(destination: str, reason: str) -> None:
    with pytest.raises(DestinationUnusable, match=reason) as caught:
        Destinations(Settings(asynchronous=Asynchronous(on_success=destination)))
    assert f"--on-success {destination!r}" in str(caught.value)


def test_a_queue_that_is_gone_is_told(aws: Aws) -> None:
    queue = aws.make_queue()
    destinations = Destinations(Settings(asynchronous=Asynchronous(on_failure=queue)))
    aws.sqs.delete_queue(QueueUrl=queue)
    outcome = Outcome(Call(b"{}"), "RetriesExhausted", 1, b"{}", failed=True)
    [failure] = asyncio.run(destinations.deliver(outcome))
    assert queue in failure


def test_an_endpoint_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(EndpointUnusable, match=r"127\.0\.0\.1:1"):
        Destinations(Settings(asynchronous=Asynchronous(on_failure="http://127.0.0.1:1/1/jobs")))


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (b'{"errorType": "E", "errorMessage": ""}', "E"),
        (b"text", "text"),
        (b"7", "7"),
        (b'""', "Unknown"),
        (b'"' + b"x" * 2000, '"' + "x" * 1023),
    ],
)
def test_the_error_message_of_a_dead_letter(response: bytes, message: str) -> None:
    outcome = Outcome(Call(b"{}"), "RetriesExhausted", 1, response, failed=True)
    assert dead_letter_attributes(outcome)["ErrorMessage"]["StringValue"] == message
