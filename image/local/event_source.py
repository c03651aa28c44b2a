"""A queue's event source mapping: what the Lambda API says of it, what the command line says, else the defaults.

https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from image.local.aws import CallRefused, CredentialsMissing, EndpointUnusable, call, make_client
from image.local.errors import OptionMisplaced, StartError
from image.local.limits import BATCH_SIZE, BATCHES
from image.local.settings import Queue, Settings

T = TypeVar("T")
PARTIAL = "ReportBatchItemFailures"


class QueueUnusable(StartError):
    """The queue can't be read."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"--queue {url!r} cannot be polled: {reason}")


@dataclass(frozen=True)
class EventSource:
    """How a queue is polled.

    Attributes:
        visibility_s: For how long received messages are hidden.
        window_s: In which a batch may fill, from its first message.
        concurrency: Batches in flight at most.
        reports_failures: Whether an answer may name the messages that failed.
        enabled: Whether it is polled at all.
        mapping: The UUID of the event source mapping that says so, if there is one.
    """

    url: str
    arn: str
    visibility_s: float
    batch_size: int
    window_s: float
    concurrency: int
    reports_failures: bool
    enabled: bool = True
    mapping: str | None = None

    @property
    def fifo(self) -> bool:
        """Whether groups have an order."""
        return self.arn.endswith(".fifo")


def read_event_source(settings: Settings, queue: Queue) -> EventSource:
    """Ask SQS for the queue, and the Lambda API for the mapping of the queue and the function.

    Raises:
        QueueUnusable: SQS refuses to tell about the queue.
        OptionMisplaced: The settings mean nothing together, or for such a queue.
        StartError: SQS or the Lambda API can't be asked.
    """
    client = make_client("sqs", settings.region)
    try:
        names = ["QueueArn", "VisibilityTimeout"]
        attributes = call(client, "get_queue_attributes", QueueUrl=queue.url, AttributeNames=names)["Attributes"]
    except CallRefused as error:
        raise QueueUnusable(queue.url, str(error)) from error
    finally:
        client.close()
    mapping = _find_mapping(settings, attributes["QueueArn"]) or {}
    responses = mapping.get("FunctionResponseTypes") or []
    source = EventSource(
        url=queue.url,
        arn=attributes["QueueArn"],
        visibility_s=float(attributes["VisibilityTimeout"]),
        batch_size=_first(queue.batch_size, mapping.get("BatchSize"), BATCH_SIZE),
        window_s=_first(queue.window_s, mapping.get("MaximumBatchingWindowInSeconds"), 0),
        concurrency=_first(queue.concurrency, (mapping.get("ScalingConfig") or {}).get("MaximumConcurrency"), BATCHES),
        reports_failures=_first(queue.reports_failures, PARTIAL in responses if mapping else None, True),
        enabled=mapping.get("State", "Enabled") not in ("Disabled", "Disabling"),
        mapping=mapping.get("UUID"),
    )
    _check(source)
    return source


def _first(given: T | None, mapped: T | None, default: T) -> T:
    if given is not None:
        return given
    return default if mapped is None else mapped


def _check(source: EventSource) -> None:
    if source.fifo and (source.batch_size > BATCH_SIZE or source.window_s):
        raise OptionMisplaced(f"a FIFO queue takes --batch-size up to {BATCH_SIZE} and no --batch-window")
    if source.batch_size > BATCH_SIZE and not source.window_s:
        raise OptionMisplaced(f"--batch-size above {BATCH_SIZE} needs a --batch-window of 1 s or more, as in Lambda")


def _find_mapping(settings: Settings, queue_arn: str) -> Mapping[str, Any] | None:
    client = make_client("lambda", settings.region)
    try:
        pages = _pages(client, queue_arn)
    except (CallRefused, CredentialsMissing, EndpointUnusable):
        if settings.deployed:
            raise
        return None  # Where nothing is deployed, there need be no Lambda API.
    finally:
        client.close()
    served = settings.qualifiers.served
    for qualifier in (served.qualifier, served.version):  # The alias, or else the version that it stands for.
        for mapping in pages:
            if _function(mapping["FunctionArn"]) == (settings.name, qualifier):
                return mapping
    return None


def _function(arn: str) -> tuple[str, str | None]:
    name, _, qualifier = arn.split(":", 6)[6].partition(":")
    return name, qualifier or None


def _pages(client: Any, queue_arn: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    while True:
        answer = call(client, "list_event_source_mappings", EventSourceArn=queue_arn, **more)
        found += answer["EventSourceMappings"]
        if not answer.get("NextMarker"):
            return found
        more = {"Marker": answer["NextMarker"]}
