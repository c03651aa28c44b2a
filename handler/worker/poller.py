"""Polls a queue and has its messages answered, as Lambda does for the worker function."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

from handler.errors import FirebrickError, QueueUnavailable
from handler.worker.queue import Queue, Record

RETRY_S, RETRY_MOST_S = 1.0, 60.0
HIDINGS = 3  # within the time after which a message would be seen


class Handles(Protocol):
    """The worker."""

    def handle(self, event: object, context: Any) -> Any:
        """Answer an event; a batch's answer names the messages that failed."""
        ...


class Tells(Protocol):
    """A logger."""

    def info(self, msg: object, *, extra: dict[str, Any]) -> None: ...
    def warning(self, msg: object, *, extra: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class Context:
    """What the worker uses of Lambda's context.

    Attributes:
        ends_at: When the batch must be at its end, in seconds of `time.monotonic`.
    """

    ends_at: float
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds, none if the time is over."""
        return max(0, int((self.ends_at - time.monotonic()) * 1e3))


class Poller:
    """Takes batches, one at a time, until it is to stop.

    Args:
        worker: Answers.
        queue: What is polled.
        batch: Messages at a time.
        timeout_s: For a batch.
        wait_s: For a first message, in one call.
        visibility_s: For how long a message is hidden by one call.
        log: For what happens to messages.
    """

    def __init__(
        self, worker: Handles, queue: Queue, batch: int, timeout_s: float, wait_s: int, visibility_s: int, log: Tells
    ) -> None:
        self._worker = worker
        self._queue = queue
        self._batch = batch
        self._timeout_s = timeout_s
        self._wait_s = wait_s
        self._visibility_s = visibility_s
        self._log = log
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Take no more; `run` ends when the batch in hand is done."""
        self._stopping.set()

    def run(self) -> None:
        """Poll until `stop`; errors of SQS are told, and tried again after pauses that grow."""
        retry_s = RETRY_S
        while not self._stopping.is_set():
            try:
                records = self._queue.receive(self._batch, self._wait_s)
            except QueueUnavailable as error:
                self._log.warning("queue_error", extra={"reason": str(error), "delay_s": retry_s})
                self._stopping.wait(retry_s)
                retry_s = min(2 * retry_s, RETRY_MOST_S)
                continue
            retry_s = RETRY_S
            if self._stopping.is_set():
                _attempt(self._queue.give_back, records, self._log)
            elif records:
                self._answer(records)

    def _answer(self, records: Sequence[Record]) -> None:
        context = Context(time.monotonic() + self._timeout_s)
        with Hiding(self._queue, records, self._visibility_s / HIDINGS, self._log):
            failed = self._failed(records, context)
        done = [record for record in records if record["messageId"] not in failed]
        deleted = _attempt(self._queue.delete, done, self._log)
        counts = {"received": len(records), "failed": len(failed), "deleted": len(done) if deleted else 0}
        self._log.info("batch", extra={"request_id": context.aws_request_id, **counts})

    def _failed(self, records: Sequence[Record], context: Context) -> set[str]:
        """The ids of those without a result: they are seen again when their time is over, as after a failed invoke."""
        try:
            answer = self._worker.handle({"Records": list(records)}, context)
        except FirebrickError:  # The worker has told why.
            return {record["messageId"] for record in records}
        return {item["itemIdentifier"] for item in answer["batchItemFailures"]}


class Hiding:
    """Keeps messages hidden while they are worked on, so that a short time-out is enough for one that nobody works on.

    Args:
        queue: Theirs.
        records: The messages.
        every_s: Seconds between two calls.
        log: For calls that fail.
    """

    def __init__(self, queue: Queue, records: Sequence[Record], every_s: float, log: Tells) -> None:
        self._queue = queue
        self._records = records
        self._every_s = every_s
        self._log = log
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hiding", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._every_s):
            _attempt(self._queue.hide, self._records, self._log)


def _attempt(call: Callable[[Sequence[Record]], None], records: Sequence[Record], log: Tells) -> bool:
    """Make a call of SQS; one that fails is told, and gives False."""
    try:
        call(records)
    except QueueUnavailable as error:
        log.warning("queue_error", extra={"reason": str(error)})
        return False
    return True
