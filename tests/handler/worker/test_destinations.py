"""Queues and buses of moto's server."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from handler.errors import ResultsUnavailable, SettingsError
from handler.settings import Settings
from handler.worker.destinations import LARGEST_WHOLE, Destination, connect_destinations, message_of

PLACE = {"bucket": "results", "key": "results/a.json"}
MESSAGE = message_of("a", {"text": "höllo", "timings": {}}, PLACE)


@pytest.fixture
def sqs(s3_url: str, s3: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_url)
    client = boto3.client("sqs")
    yield client
    client.close()


def destination(**settings: Any) -> Destination:
    [made] = connect_destinations(Settings(Path("/m"), region="us-east-1", **settings))
    return made


def new_queue(sqs: Any, fifo: bool = False) -> str:
    name = uuid.uuid4().hex
    if fifo:
        return str(sqs.create_queue(QueueName=f"{name}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"])
    return str(sqs.create_queue(QueueName=name)["QueueUrl"])


def received(sqs: Any, url: str) -> list[dict[str, Any]]:
    """All messages, deleted."""
    found: list[dict[str, Any]] = []
    names = {"MessageAttributeNames": ["All"], "AttributeNames": ["All"], "MaxNumberOfMessages": 10}
    while taken := sqs.receive_message(QueueUrl=url, **names).get("Messages"):
        found += taken
        for message in taken:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def new_bus(sqs: Any, queue_url: str) -> str:
    """A bus whose events of ours go to the queue."""
    events, name = boto3.client("events"), uuid.uuid4().hex
    arn = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    bus = str(events.create_event_bus(Name=name)["EventBusArn"])
    pattern = json.dumps({"source": ["firebrick"], "detail-type": ["Answer"]})
    events.put_rule(Name=name, EventBusName=name, EventPattern=pattern)
    events.put_targets(Rule=name, EventBusName=name, Targets=[{"Id": "1", "Arn": arn}])
    events.close()
    return bus


def test_a_message_is_the_result_with_its_key(sqs: Any) -> None:
    url = new_queue(sqs)
    destination(results_queue_url=url).send("a", MESSAGE)
    [message] = received(sqs, url)
    assert json.loads(message["Body"]) == {"idempotency_key": "a", "text": "höllo", "timings": {}}
    assert message["MessageAttributes"]["idempotency_key"]["StringValue"] == "a"


@pytest.mark.parametrize("key", ["a", "k" * 200])
def test_a_fifo_queue_takes_a_key_once(sqs: Any, key: str) -> None:
    url = new_queue(sqs, fifo=True)
    queue = destination(results_queue_url=url)
    for _ in range(2):
        queue.send(key, MESSAGE)
    [message] = received(sqs, url)
    assert message["MessageAttributes"]["idempotency_key"]["StringValue"] == key


@pytest.mark.parametrize("by", ["ARN", "name"])
def test_an_event_has_the_result_as_its_detail(sqs: Any, by: str) -> None:
    url = new_queue(sqs)
    bus = new_bus(sqs, url)
    destination(results_bus=bus if by == "ARN" else bus.rpartition("/")[2]).send("a", MESSAGE)
    [message] = received(sqs, url)
    event = json.loads(message["Body"])
    assert (event["source"], event["detail-type"]) == ("firebrick", "Answer")
    assert event["detail"] == {"idempotency_key": "a", "text": "höllo", "timings": {}}


@pytest.mark.parametrize(("size", "whole"), [(LARGEST_WHOLE, True), (LARGEST_WHOLE + 1, False)])
def test_a_result_that_is_too_large_goes_by_reference(size: int, whole: bool) -> None:
    empty = len(message_of("a", {"text": ""}, PLACE))
    message = message_of("a", {"text": "x" * (size - empty)}, PLACE)
    expected = {"idempotency_key", "text"} if whole else {"idempotency_key", "result_at"}
    assert json.loads(message).keys() == expected
    assert whole or json.loads(message)["result_at"] == PLACE


def test_the_largest_whole_one_is_taken(sqs: Any) -> None:
    url = new_queue(sqs)
    message = b'{"text":"' + b"x" * (LARGEST_WHOLE - 11) + b'"}'
    destination(results_queue_url=url).send("k" * 200, message)
    destination(results_bus=new_bus(sqs, url)).send("k" * 200, message)
    assert len(received(sqs, url)) == 2


def test_a_queue_that_is_not_there_is_named(sqs: Any) -> None:
    url = new_queue(sqs)
    with pytest.raises(ResultsUnavailable, match=f"sending a to {url}-not failed"):
        destination(results_queue_url=f"{url}-not").send("a", MESSAGE)


def test_a_bus_that_does_not_take_an_event_is_named(sqs: Any) -> None:
    bus = destination(results_bus="default")
    bus._client.put_events = lambda **_: {  # type: ignore[attr-defined]  # moto takes everything
        "FailedEntryCount": 1,
        "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}],
    }
    with pytest.raises(ResultsUnavailable, match="putting a on the bus default failed: ThrottlingException: slow down"):
        bus.send("a", MESSAGE)


@pytest.mark.parametrize("setting", ["results_queue_url", "results_bus"])
def test_an_endpoint_that_does_not_answer_is_an_error(sqs: Any, setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        value = f"{url}/123456789012/q" if setting == "results_queue_url" else "default"
        with pytest.raises(ResultsUnavailable, match="Could not connect"):
            destination(**{setting: value}).send("a", MESSAGE)


@pytest.mark.parametrize(
    ("settings", "region"),
    [
        ({"results_queue_url": "https://sqs.eu-west-1.amazonaws.com/123456789012/q"}, "eu-west-1"),
        ({"results_queue_url": "http://127.0.0.1:5000/123456789012/q"}, "us-east-1"),
        ({"results_bus": "arn:aws:events:eu-west-1:123456789012:event-bus/b"}, "eu-west-1"),
        ({"results_bus": "b"}, "us-east-1"),
    ],
)
def test_a_destination_is_called_in_its_own_region(settings: dict[str, str], region: str, s3: Any) -> None:
    made = destination(**settings)
    assert made._client.meta.region_name == region  # type: ignore[attr-defined]


def test_a_bus_by_name_needs_a_region() -> None:
    with pytest.raises(SettingsError, match="AWS_REGION"):
        connect_destinations(Settings(Path("/m"), results_bus="default"))
