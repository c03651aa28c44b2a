"""Polls a queue and invokes with batches of its messages, as Lambda's event source mapping does.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html and services-sqs-errorhandling.html
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from image.local.aws import call, make_client
from image.local.batch import AnswerMalformed, Message, failed_ids, make_event, make_message, split
from image.local.errors import StartError
from image.local.event_source import EventSource
from image.local.invocation import Call, Invocation
from image.local.limits import (
    POLL_RETRY_MOST_S,
    POLL_RETRY_S,
    POLL_S,
    QUEUE_THROTTLE_MOST_S,
    QUEUE_THROTTLE_S,
    REQUEST_BYTES,
)
from image.local.logs import Log
from image.local.pool import Pool
from image.local.qualifiers import Target
from image.local.refusals import Throttled, Unavailable

MOST_AT_ONCE = 10  # messages of one call of SQS


class QueuePoller:
    """One event source mapping at work.

    Args:
        source: The queue and how it is polled.
        region: For SQS's client.
        target: What is invoked.
        pool: What invokes.
        log: For what happens to messages.
    """

    def __init__(self, source: EventSource, region: str, target: Target, pool: Pool, log: Log) -> None:
        self._source = source
        self._client = make_client("sqs", region)
        self._target = target
        self._pool = pool
        self._log = log
        self._retry_s = POLL_RETRY_S
        self._room = asyncio.Semaphore(source.concurrency)
        self._stopping = asyncio.Event()
        self._batches: set[asyncio.Task[None]] = set()
        self._polling: asyncio.Task[None] | None = None

    def start(self, timeout_s: float) -> None:
        """Begin to poll, if the mapping is enabled.

        Args:
            timeout_s: The function's.
        """
        source = self._source
        self._tell(
            "queue",
            enabled=source.enabled,
            mapping=source.mapping,
            batch_size=source.batch_size,
            window_s=source.window_s,
            concurrency=source.concurrency,
            reports_failures=source.reports_failures,
            visibility_s=source.visibility_s,
        )
        if source.visibility_s < timeout_s:
            self._tell(
                "queue_warning", reason="Lambda refuses a queue whose visibility time-out is below the function's"
            )
        if source.enabled:
            self._polling = asyncio.get_running_loop().create_task(self._poll())

    async def close(self, grace_s: float) -> None:
        """Stop polling; abandon the batches that take longer than `grace_s`, whose messages then come back."""
        self._stopping.set()
        self._room.release()  # It may wait for room, which it then won't use.
        if self._polling is not None:
            await self._polling
        if self._batches:
            _, late = await asyncio.wait(self._batches, timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                self._tell("batches_abandoned", count=len(late))
                await asyncio.wait(late)
        self._client.close()

    # ---------------------------------------------------------------- receiving

    async def _poll(self) -> None:
        while not self._stopping.is_set():
            await self._room.acquire()
            if not self._stopping.is_set() and (messages := await self._collect()):
                task = asyncio.get_running_loop().create_task(self._process(messages))
                self._batches.add(task)
                task.add_done_callback(self._processed)
            else:
                self._room.release()

    def _processed(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        self._room.release()

    async def _collect(self) -> list[Message]:
        """Receive up to a batch; the window begins with its first message and ends early if the batch is full."""
        messages = await self._receive(self._source.batch_size)
        ends_at = time.monotonic() + self._source.window_s
        while messages and not self._full(messages) and time.monotonic() < ends_at and not self._stopping.is_set():
            messages += await self._receive(self._source.batch_size - len(messages))
        return messages

    def _full(self, messages: Sequence[Message]) -> bool:
        return len(messages) >= self._source.batch_size or sum(one.size for one in messages) >= REQUEST_BYTES

    async def _receive(self, count: int) -> list[Message]:
        """Wait for messages, but not for long; return none after an error, later with each in a row."""
        asked = {"MaxNumberOfMessages": min(count, MOST_AT_ONCE), "WaitTimeSeconds": POLL_S}
        try:
            answer = await self._ask(
                "receive_message", MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"], **asked
            )
        except StartError as error:
            self._tell("queue_error", reason=str(error), delay_s=self._retry_s)
            await self._pause(self._retry_s)
            self._retry_s = min(2 * self._retry_s, POLL_RETRY_MOST_S)
            return []
        self._retry_s = POLL_RETRY_S
        expires_at = time.monotonic() + self._source.visibility_s
        return [make_message(one, self._source.arn, expires_at) for one in answer.get("Messages", [])]

    # ---------------------------------------------------------------- invoking

    async def _process(self, messages: Sequence[Message]) -> None:
        blocked: set[str] = set()  # Groups in which something failed: what follows must not overtake it.
        for part in split(messages, self._source.batch_size, REQUEST_BYTES):
            if batch := [message for message in part if message.group not in blocked]:
                failed = await self._invoke(batch)
                blocked |= {message.group for message in batch if message.group and message.id in failed}

    async def _invoke(self, batch: Sequence[Message]) -> set[str]:
        """Invoke with a batch and delete what is done; return the ids of the others."""
        made = Call(make_event(batch), target=self._target)
        everything = {message.id for message in batch}
        invocation = await self._submit(made, min(message.expires_at for message in batch))
        failed, reason = await self._outcome(invocation, batch) if invocation else (everything, "throttled")
        deleted = await self._delete([message for message in batch if message.id not in failed])
        counts = {"received": len(batch), "deleted": deleted, "failed": len(failed)}
        self._tell("batch", request_id=made.request_id, **counts, **({"reason": reason} if reason else {}))
        return failed

    async def _submit(self, made: Call, expires_at: float) -> Invocation | None:
        """Begin an invoke; return None if it is throttled until the messages become visible again."""
        delay_s = QUEUE_THROTTLE_S
        while True:
            try:
                return self._pool.submit(made)
            except Throttled:
                if delay_s == QUEUE_THROTTLE_S:
                    self._tell("batch_throttled", request_id=made.request_id)
                if time.monotonic() + delay_s >= expires_at or self._stopping.is_set():
                    return None
            except Unavailable:
                return None
            await self._pause(delay_s)
            delay_s = min(2 * delay_s, QUEUE_THROTTLE_MOST_S)

    async def _outcome(self, invocation: Invocation, batch: Sequence[Message]) -> tuple[set[str], str | None]:
        """Return the ids of the messages that failed, and why if all of them did."""
        try:
            answer = await invocation.whole()
        finally:
            invocation.abandon()
        everything = {message.id for message in batch}
        if invocation.error is not None:
            return everything, invocation.error.type
        if not self._source.reports_failures:
            return set(), None
        try:
            return failed_ids(answer, everything), None
        except AnswerMalformed as error:
            return everything, str(error)

    async def _delete(self, messages: Sequence[Message]) -> int:
        """Delete messages; return how many SQS has deleted."""
        deleted = 0
        for start in range(0, len(messages), MOST_AT_ONCE):
            part = messages[start : start + MOST_AT_ONCE]
            entries = [{"Id": str(number), "ReceiptHandle": one.receipt} for number, one in enumerate(part)]
            try:
                answer = await self._ask("delete_message_batch", Entries=entries)
            except StartError as error:
                self._tell("queue_error", reason=str(error))
                continue
            deleted += len(answer.get("Successful", []))
            if failures := answer.get("Failed"):
                self._tell("queue_error", reason=f"DeleteMessageBatch: {failures[0].get('Message')}")
        return deleted

    # ---------------------------------------------------------------- both

    async def _ask(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return await asyncio.to_thread(call, self._client, operation, QueueUrl=self._source.url, **parameters)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not when this is to end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _tell(self, event: str, **values: object) -> None:
        self._log.event(event, queue=self._source.arn, **values)
