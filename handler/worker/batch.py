"""A batch of messages, several at a time; only those that failed come back to the queue."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from handler.turns import Turns
from handler.worker.events import Batch


class Answers(Protocol):
    """What is done with the messages."""

    def answer(self, record: SQSRecord) -> Generator[None, None, None]:
        """Answer a message, and give None where that takes a step; an exception fails that message alone."""
        ...

    def step(self) -> None:
        """Bring all messages forward that are being answered."""
        ...

    def failed(self, record: SQSRecord, error: Exception) -> None:
        """Hear why a message comes back; one that only follows a failed one has no reason of its own."""
        ...


def answer_batch(batch: Batch, answers: Answers, slots: int) -> dict[str, Any]:
    """Answer each message.

    In a FIFO queue the messages of a group are answered one after the other, and those that follow a failed one fail,
    too, or they would overtake it.

    Args:
        batch: From SQS.
        answers: Answers the messages.
        slots: How many at a time.

    Returns:
        A partial batch response: `{"batchItemFailures": [{"itemIdentifier": message id}, …]}`. All failed is no
        different from some failed: as an error of the function it would only be counted twice.
    """
    line = _Line(batch)
    turns: Turns[int, None] = Turns(answers.step)
    while True:
        while len(turns) < slots and (index := line.take()) is not None:
            record = line.records[index]
            turns.add(index, lambda record=record: answers.answer(record))  # type: ignore[misc]
        if not turns:
            return {"batchItemFailures": [{"itemIdentifier": id} for id in line.failed_ids()]}
        for index, error in turns.round(_nothing).items():
            line.end(index, failed=error is not None)
            if error is not None:
                answers.failed(line.records[index], error)


def _nothing(index: int, item: None) -> None:
    """Take an item of a message, which has none: results go their own way."""


class _Line:
    """Messages in their order: which one may be next, and which have failed."""

    def __init__(self, batch: Batch) -> None:
        self.records = [SQSRecord(record) for record in batch.records]
        self._groups = [_group(record) if batch.fifo else None for record in batch.records]
        self._waiting = list(range(len(self.records)))
        self._busy: set[str] = set()  # groups
        self._failed: set[int] = set()

    def take(self) -> int | None:
        """Take the first message whose group has none on its way; None if there is no such message now."""
        for index in self._waiting:
            group = self._groups[index]
            if group not in self._busy:
                self._waiting.remove(index)
                if group is not None:
                    self._busy.add(group)
                return index
        return None

    def end(self, index: int, failed: bool) -> None:
        """Note how a message ended."""
        group = self._groups[index]
        self._busy -= {group}
        if failed:
            self._failed.add(index)
        if failed and group is not None:
            self._failed |= {other for other in self._waiting if self._groups[other] == group}
            self._waiting = [other for other in self._waiting if self._groups[other] != group]

    def failed_ids(self) -> list[str]:
        """The failed messages' ids, in the batch's order."""
        return [self.records[index].message_id for index in sorted(self._failed)]


def _group(record: dict[str, Any]) -> str | None:
    group = record.get("attributes", {}).get("MessageGroupId")
    return None if group is None else str(group)
