"""Where results go besides the bucket: an SQS queue, an EventBridge bus; each result with its key."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from handler.api.events import json_bytes
from handler.errors import ResultsUnavailable
from handler.worker.clients import Setting, make_client
from handler.worker.jobs import KEY

if TYPE_CHECKING:
    from botocore.client import BaseClient

    from handler.settings import Settings
    from handler.worker.results import Result

SOURCE, DETAIL_TYPE = "firebrick", "Answer"
# What every queue and every bus takes in one piece, less a KiB for attributes and the envelope; some take 1 MiB.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html
LARGEST_WHOLE = 255 * 1024  # bytes
LONGEST_ID = 128  # characters of a FIFO queue's ids


class Destination(Protocol):
    """Takes results; the same one twice, if it must."""

    @property
    def name(self) -> str:
        """What FIREBRICK_RESULTS calls it."""
        ...

    def send(self, key: str, message: bytes) -> None:
        """Send a result.

        Raises:
            ResultsUnavailable: It isn't taken.
        """
        ...


class Queue:
    """An SQS queue. A FIFO queue takes each key once in five minutes, and every key is a group of its own.

    Args:
        url: The queue's.
        client: botocore's, for SQS.
    """

    name = "sqs"

    def __init__(self, url: str, client: BaseClient) -> None:
        self._url = url
        self._client = client

    def send(self, key: str, message: bytes) -> None:
        """See `Destination.send`."""
        id = key if len(key) <= LONGEST_ID else hashlib.sha256(key.encode()).hexdigest()
        fifo = {"MessageDeduplicationId": id, "MessageGroupId": id} if self._url.endswith(".fifo") else {}
        _call(
            f"sending {key} to {self._url}",
            self._client.send_message,
            QueueUrl=self._url,
            MessageBody=message.decode(),
            MessageAttributes={KEY: {"DataType": "String", "StringValue": key}},
            **fifo,
        )


class Bus:
    """An EventBridge bus: events of source `firebrick`, detail type `Answer`.

    Args:
        name_or_arn: The bus's.
        client: botocore's, for EventBridge.
    """

    name = "events"

    def __init__(self, name_or_arn: str, client: BaseClient) -> None:
        self._bus = name_or_arn
        self._client = client

    def send(self, key: str, message: bytes) -> None:
        """See `Destination.send`."""
        what = f"putting {key} on the bus {self._bus}"
        event = {"Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": message.decode(), "EventBusName": self._bus}
        taken = _call(what, self._client.put_events, Entries=[event])
        if taken["FailedEntryCount"]:  # an answer of status 200 all the same
            entry = taken["Entries"][0]
            raise ResultsUnavailable(what, f"{entry.get('ErrorCode')}: {entry.get('ErrorMessage')}")


def message_of(key: str, result: Result, place: Mapping[str, str]) -> bytes:
    """Write a result down as it is sent: with its key, and as a whole if it isn't too large.

    Args:
        key: The result's.
        result: What is kept in the bucket.
        place: Where it is kept; told in place of the result if that is too large.
    """
    whole = json_bytes({KEY: key, **result})
    return whole if len(whole) <= LARGEST_WHOLE else json_bytes({KEY: key, "result_at": dict(place)})


def _call(what: str, method: Any, **arguments: Any) -> Any:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return method(**arguments)
    except (ClientError, BotoCoreError) as error:
        raise ResultsUnavailable(what, str(error)) from None


def connect_destinations(settings: Settings) -> tuple[Destination, ...]:
    """Make the clients of the destinations that the settings name; nothing is sent yet.

    Raises:
        SettingsError: A destination has no region, or can't be a destination.
    """
    made: list[Destination] = []
    if settings.results_queue_url is not None:
        found = re.match(r"https://sqs\.([a-z0-9-]+)\.", settings.results_queue_url)
        setting = Setting("FIREBRICK_RESULTS_QUEUE_URL", settings.results_queue_url, "a queue")
        client = _client("sqs", setting, found, settings.region)
        made.append(Queue(settings.results_queue_url, client))
    if settings.results_bus is not None:
        found = re.match(r"arn:[a-z-]+:events:([a-z0-9-]+):", settings.results_bus)
        setting = Setting("FIREBRICK_RESULTS_BUS", settings.results_bus, "a bus")
        client = _client("events", setting, found, settings.region)
        made.append(Bus(settings.results_bus, client))
    return tuple(made)


def _client(service: str, setting: Setting, found: re.Match[str] | None, region: str | None) -> BaseClient:
    its_region = found[1] if found else region  # one of another region is only taken there
    return make_client(service, its_region, setting, read_timeout_s=5, attempts=2)
