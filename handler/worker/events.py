"""What Lambda hands the function → an event with a type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from handler.errors import UnknownEvent, shown
from handler.worker.jobs import ENDPOINTS

SQS = "aws:sqs"


@dataclass(frozen=True)
class Invoke:
    """A request, as the caller wrote it."""

    values: Mapping[str, Any]


@dataclass(frozen=True)
class Batch:
    """SQS messages.

    Attributes:
        records: As Lambda writes them; each has a message id and a body.
        fifo: Whether their order counts.
    """

    records: Sequence[dict[str, Any]]
    fifo: bool


def read_event(event: object) -> Invoke | Batch:
    """Tell what an event is.

    Raises:
        UnknownEvent: It is nothing that this function takes.
    """
    if not isinstance(event, dict):
        raise UnknownEvent(f"the event is {shown(event)}")
    if any(name in event for name in ENDPOINTS):
        return Invoke(event)
    records = event.get("Records")
    if not isinstance(records, list) or not records:
        raise UnknownEvent(f"the event has the members {', '.join(map(shown, list(event)[:10])) or 'none'}")
    for index, record in enumerate(records):
        _check_record(record, f"Records[{index}]")
    return Batch(records, str(records[0].get("eventSourceARN")).endswith(".fifo"))


def _check_record(record: object, path: str) -> None:
    if not isinstance(record, dict):
        raise UnknownEvent(f"{path} is {shown(record)}")
    if record.get("eventSource") != SQS:
        raise UnknownEvent(f"{path}.eventSource is {shown(record.get('eventSource'))}")
    for name in ("messageId", "body"):
        if not isinstance(record.get(name), str):
            raise UnknownEvent(f"{path}.{name} is {shown(record.get(name))}")
    for name in ("attributes", "messageAttributes"):
        if not isinstance(record.get(name, {}), dict):
            raise UnknownEvent(f"{path}.{name} is {shown(record.get(name))}")
