"""A queue in SQS: its messages as Lambda writes them, and what the poller does with them.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/ and
https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from handler.errors import QueueUnavailable, QueueUnusable
from handler.worker.clients import Setting, make_client

if TYPE_CHECKING:
    from botocore.client import BaseClient

Record = Mapping[str, Any]
LONGER_S = 10  # than SQS holds an answer back
ATTEMPTS = 5  # of one call, with pauses that grow, where SQS throttles or fails


class Queue:
    """One queue.

    Args:
        url: The queue's.
        client: botocore's, for SQS.
        visibility_s: For how long what is taken is hidden.

    Raises:
        QueueUnusable: The queue isn't there, may not be read, or SQS can't be reached.
    """

    def __init__(self, url: str, client: BaseClient, visibility_s: int) -> None:
        self._url = url
        self._client = client
        self._visibility_s = visibility_s
        try:
            answer = self._call("get_queue_attributes", AttributeNames=["QueueArn"])
        except QueueUnavailable as error:
            raise QueueUnusable(url, error) from None
        self.arn: str = answer["Attributes"]["QueueArn"]

    def receive(self, count: int, wait_s: int) -> list[Record]:
        """Take messages and hide them.

        Args:
            count: How many at most, 1 to 10.
            wait_s: For a first one.

        Returns:
            Records as in an event of Lambda's; none if none came.

        Raises:
            QueueUnavailable: SQS doesn't give any.
        """
        answer = self._call(
            "receive_message",
            MaxNumberOfMessages=count,
            WaitTimeSeconds=wait_s,
            VisibilityTimeout=self._visibility_s,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return [_record(message, self.arn) for message in answer.get("Messages", [])]

    def delete(self, records: Sequence[Record]) -> None:
        """Delete messages that are done.

        Raises:
            QueueUnavailable: SQS keeps some, so they will come again.
        """
        self._change("delete_message_batch", records)

    def hide(self, records: Sequence[Record]) -> None:
        """Hide messages from now on for as long as at their receipt.

        Raises:
            QueueUnavailable: SQS doesn't, so somebody else may take them, too.
        """
        self._change("change_message_visibility_batch", records, VisibilityTimeout=self._visibility_s)

    def give_back(self, records: Sequence[Record]) -> None:
        """Let others have messages at once.

        Raises:
            QueueUnavailable: SQS doesn't; they are seen again when their time is over.
        """
        self._change("change_message_visibility_batch", records, VisibilityTimeout=0)

    def _change(self, operation: str, records: Sequence[Record], **members: int) -> None:
        if not records:
            return
        entries = [
            {"Id": str(index), "ReceiptHandle": record["receiptHandle"], **members}
            for index, record in enumerate(records)
        ]
        if refused := self._call(operation, Entries=entries).get("Failed"):
            first = refused[0]
            raise QueueUnavailable(f"{operation}: {len(refused)} of {len(records)} refused, {first.get('Message')}")

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = getattr(self._client, operation)(QueueUrl=self._url, **arguments)
        except (BotoCoreError, ClientError) as error:
            raise QueueUnavailable(f"{operation}: {error}") from None
        return answer


def connect(url: str, region: str | None, visibility_s: int, wait_s: int) -> Queue:
    """Find the queue.

    Args:
        url: The queue's.
        region: Of SQS.
        visibility_s: For how long what is taken is hidden.
        wait_s: The longest that SQS may hold an answer back.

    Raises:
        SettingsError: There is no region, or AWS_ENDPOINT_URL_SQS is no URL.
        QueueUnusable: The queue isn't there, may not be read, or SQS can't be reached.
    """
    setting = Setting("FIREBRICK_QUEUE_URL", url, "a queue")
    client = make_client("sqs", region, setting, read_timeout_s=wait_s + LONGER_S, attempts=ATTEMPTS)
    return Queue(url, client, visibility_s)


def _record(message: Mapping[str, Any], arn: str) -> Record:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()},
        "md5OfBody": message.get("MD5OfBody"),
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": arn.split(":")[3],
    }


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    binary = value.get("BinaryValue")
    return {
        "dataType": value["DataType"],
        "stringListValues": [],
        "binaryListValues": [],
        **({"stringValue": value["StringValue"]} if "StringValue" in value else {}),
        **({} if binary is None else {"binaryValue": b64encode(binary).decode()}),
    }
