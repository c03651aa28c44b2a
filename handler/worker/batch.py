"""A batch of messages, one after the other; only those that failed come back to the queue."""

from collections.abc import Callable
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, SqsFifoPartialProcessor
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from handler.worker.events import Batch


def answer_batch(batch: Batch, answer: Callable[[SQSRecord], None]) -> dict[str, Any]:
    """Answer each message.

    In a FIFO queue the messages of a group that follow a failed one fail, too, or they would overtake it.

    Args:
        batch: From SQS.
        answer: Answers one message; whatever exception it raises fails that message alone.

    Returns:
        A partial batch response: `{"batchItemFailures": [{"itemIdentifier": message id}, …]}`.
    """
    processor = SqsFifoPartialProcessor(skip_group_on_error=True) if batch.fifo else BatchProcessor(EventType.SQS)
    # All failed is no different from some failed: as an error of the function it would only be counted twice.
    processor.raise_on_entire_batch_failure = False
    with processor(list(batch.records), answer):
        processor.process()
    return dict(processor.response())
