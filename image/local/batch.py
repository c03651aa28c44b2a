"""Messages of a queue → an event of Lambda's, and its answer → which messages are done.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html and services-sqs-errorhandling.html
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OPEN, CLOSE, COMMA = b'{"Records": [', b"]}", b", "


class AnswerMalformed(ValueError):
    """A function's answer that is no batch response; all of its messages count as failed."""


@dataclass(frozen=True)
class Message:
    """A received message.

    Attributes:
        id: SQS's message id.
        receipt: With which it is deleted.
        group: Of a FIFO queue, else None.
        expires_at: When it becomes visible again, in seconds of `time.monotonic()`.
        record: Its JSON in the event, in UTF-8.
    """

    id: str
    receipt: str
    group: str | None
    expires_at: float
    record: bytes

    @property
    def size(self) -> int:
        """Bytes that it adds to an event."""
        return len(self.record) + len(COMMA)


def make_message(received: Mapping[str, Any], arn: str, expires_at: float) -> Message:
    """Turn what SQS answered into a message of the event.

    Args:
        received: One of `Messages` of ReceiveMessage, with all attributes.
        arn: The queue's.
        expires_at: When it becomes visible again, in seconds of `time.monotonic()`.
    """
    attributes = received.get("Attributes", {})
    record = {
        "messageId": received["MessageId"],
        "receiptHandle": received["ReceiptHandle"],
        "body": received["Body"],
        "attributes": attributes,
        "messageAttributes": {name: _attribute(value) for name, value in received.get("MessageAttributes", {}).items()},
        "md5OfBody": received["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": arn.split(":")[3],
    }
    if "MD5OfMessageAttributes" in received:
        record["md5OfMessageAttributes"] = received["MD5OfMessageAttributes"]
    return Message(
        received["MessageId"],
        received["ReceiptHandle"],
        attributes.get("MessageGroupId") if arn.endswith(".fifo") else None,
        expires_at,
        json.dumps(record, ensure_ascii=False).encode(),
    )


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
    if "StringValue" in value:
        made["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        made["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return made


def make_event(messages: Sequence[Message]) -> bytes:
    """Return the payload of an invoke."""
    return OPEN + COMMA.join(message.record for message in messages) + CLOSE


def split(messages: Sequence[Message], size: int, limit: int) -> list[list[Message]]:
    """Split messages, in their order, into batches of `size` messages and `limit` bytes of payload at most."""
    batches: list[list[Message]] = []
    used = 0
    for message in messages:
        if not batches or len(batches[-1]) >= size or used + message.size > limit:
            batches.append([])
            used = len(OPEN + CLOSE)
        batches[-1].append(message)
        used += message.size
    return batches


def failed_ids(answer: bytes, known: Collection[str]) -> set[str]:
    """Return the messages that a partial batch response names.

    Null, an object without `batchItemFailures`, and a list that is null or empty name none.

    Args:
        answer: Of the function.
        known: The ids of the batch's messages.

    Raises:
        AnswerMalformed: It isn't JSON, or no such object, or names a message that isn't in the batch.
    """
    try:
        value = json.loads(answer or b"null")
    except ValueError as error:
        raise AnswerMalformed(f"the answer is not JSON: {error}") from error
    if value is None:
        return set()
    if not isinstance(value, dict):
        raise AnswerMalformed("the answer is not an object")
    failures = value.get("batchItemFailures")
    if failures is not None and not isinstance(failures, list):
        raise AnswerMalformed("batchItemFailures is not a list")
    named = set()
    for item in failures or []:
        id = item.get("itemIdentifier") if isinstance(item, dict) else None
        if not isinstance(id, str) or id not in known:
            raise AnswerMalformed(f"itemIdentifier {str(id)[:80]!r} is no message of the batch")
        named.add(id)
    return named
