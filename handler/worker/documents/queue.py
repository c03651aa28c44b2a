"""A message that is sent to its queue anew: its document goes on in another invocation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from handler.errors import RequeueFailed

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from botocore.client import BaseClient


class Queue:
    """Sends messages to where they came from.

    Args:
        connect: Makes a client of SQS, if one is needed.
    """

    def __init__(self, connect: Callable[[], BaseClient]) -> None:
        self._connect = connect
        self._client: BaseClient | None = None

    def connect(self) -> BaseClient:
        """Make the client, which takes some tenths of a second, while there is time."""
        if self._client is None:
            self._client = self._connect()
        return self._client

    def send_again(self, record: SQSRecord) -> None:
        """Send a message anew, so that its receives are counted from the beginning.

        Raises:
            RequeueFailed: SQS doesn't take it.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        *_, account, name = record.event_source_arn.split(":")
        try:
            client = self.connect()
            url = client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
            client.send_message(QueueUrl=url, MessageBody=record.body)
        except (BotoCoreError, ClientError) as error:
            raise RequeueFailed(name, str(error)) from None


def takes_back(record: SQSRecord) -> bool:
    """Whether a message may be sent anew: in a FIFO queue it would go behind those that must follow it."""
    return not record.event_source_arn.endswith(".fifo")
