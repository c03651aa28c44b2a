"""Where asynchronous invokes go when they are finished: records to destinations, events to a dead-letter queue.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass
from typing import Any, Literal

from image.local.aws import CallRefused, call, make_client
from image.local.errors import StartError
from image.local.invocation import Call
from image.local.settings import Settings

ARN = re.compile(r"arn:[^:]+:sqs:[^:]+:(\d{12}):([A-Za-z0-9_-]{1,80}(?:\.fifo)?)")
URL = re.compile(r"https?://\S+")
MESSAGE_BYTES = 1024  # of an error message in a dead-letter queue
THROTTLED = {"errorMessage": "Rate Exceeded."}


class DestinationUnusable(StartError):
    """A destination that isn't a standard SQS queue, or isn't there."""

    def __init__(self, option: str, text: str, reason: str) -> None:
        super().__init__(f"{option} {text!r} cannot be used: {reason}; give the ARN or URL of a standard SQS queue")


@dataclass(frozen=True)
class Outcome:
    """How an asynchronous invoke ended.

    Attributes:
        call: What was invoked.
        condition: Why there are no more attempts.
        invokes: How many attempts there were.
        response: Of the last attempt; None if there was none, because every one was throttled.
        failed: Whether the last attempt failed.
    """

    call: Call
    condition: Literal["Success", "RetriesExhausted", "EventAgeExceeded"]
    invokes: int
    response: bytes | None
    failed: bool


class Destinations:
    """The queues of one function, found when this is made.

    Args:
        settings: The function.

    Raises:
        DestinationUnusable: One of them isn't a standard SQS queue, or isn't there.
        StartError: SQS can't be asked.
    """

    def __init__(self, settings: Settings) -> None:
        self._arn = settings.arn
        given = settings.asynchronous
        named = (given.on_failure, given.on_success, given.dead_letter)
        self._client = make_client("sqs", settings.region) if any(named) else None
        self._on_failure = self._find("--on-failure", given.on_failure)
        self._on_success = self._find("--on-success", given.on_success)
        self._dead_letter = self._find("--dead-letter-queue", given.dead_letter)

    def _find(self, option: str, text: str | None) -> str | None:
        if text is None:
            return None
        found = ARN.fullmatch(text)
        if text.endswith(".fifo"):
            raise DestinationUnusable(option, text, "Lambda takes no FIFO queues here")
        if not (found or URL.fullmatch(text)):
            raise DestinationUnusable(option, text, "only SQS is supported")
        try:
            if found:
                asked = call(self._client, "get_queue_url", QueueName=found[2], QueueOwnerAWSAccountId=found[1])
                return str(asked["QueueUrl"])
            call(self._client, "get_queue_attributes", QueueUrl=text, AttributeNames=["QueueArn"])
        except CallRefused as error:
            raise DestinationUnusable(option, text, str(error)) from error
        return text

    async def deliver(self, outcome: Outcome) -> list[str]:
        """Send an outcome to where it belongs; return what couldn't be sent, and why."""
        sent: list[tuple[str | None, str, dict[str, dict[str, str]]]] = []
        if outcome.condition == "Success":
            sent.append((self._on_success, json.dumps(record(outcome, self._arn)), {}))
        else:
            sent.append((self._on_failure, json.dumps(record(outcome, self._arn)), {}))
            sent.append(
                (self._dead_letter, outcome.call.payload.decode(errors="replace"), dead_letter_attributes(outcome))
            )
        failures = []
        for url, body, attributes in sent:
            try:
                if url is not None:
                    await asyncio.to_thread(
                        call,
                        self._client,
                        "send_message",
                        QueueUrl=url,
                        MessageBody=body,
                        MessageAttributes=attributes,
                    )
            except StartError as error:
                failures.append(f"{url}: {error}")
        return failures


def record(outcome: Outcome, arn: str) -> dict[str, Any]:
    """Return the record that a destination gets.

    Args:
        outcome: Of the invoke.
        arn: The function's, without a qualifier.
    """
    target = outcome.call.target
    made: dict[str, Any] = {
        "version": "1.0",
        "timestamp": _now(),
        "requestContext": {
            "requestId": outcome.call.request_id,
            "functionArn": f"{arn}:{target.qualifier or target.version}",
            "condition": outcome.condition,
            "approximateInvokeCount": outcome.invokes,
        },
        "requestPayload": json.loads(outcome.call.payload),
    }
    if outcome.response is not None:  # What a record without any response has is not documented.
        made["responseContext"] = {"statusCode": 200, "executedVersion": target.version}
        if outcome.failed:
            made["responseContext"]["functionError"] = "Unhandled"
        made["responsePayload"] = _json_or_text(outcome.response)
    return made


def dead_letter_attributes(outcome: Outcome) -> dict[str, dict[str, str]]:
    """Return the message attributes that an event has in a dead-letter queue."""
    answer = THROTTLED if outcome.response is None else _json_or_text(outcome.response)
    message = str(answer.get("errorMessage") or answer.get("errorType") or "") if isinstance(answer, dict) else answer
    text = str(message or "Unknown").encode()[:MESSAGE_BYTES].decode(errors="ignore")
    return {
        "RequestID": {"DataType": "String", "StringValue": outcome.call.request_id},
        "ErrorCode": {"DataType": "Number", "StringValue": "429" if outcome.response is None else "200"},
        "ErrorMessage": {"DataType": "String", "StringValue": text},
    }


def _json_or_text(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return payload.decode(errors="replace")


def _now() -> str:
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
