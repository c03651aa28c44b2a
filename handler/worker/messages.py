"""The messages of one batch: each from its job to its kept result, beside the others."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from handler.worker.jobs import Job, is_notification, message_job, message_values
from handler.worker.results import Results
from handler.worker.work import Work

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

    from handler.worker.documents.documents import Documents


class Messages:
    """Answers messages; `batch.Answers`.

    Args:
        work: What answers.
        results: Where results are kept, as soon as there are any.
        find_documents: Makes what answers documents, with the first of them.
    """

    def __init__(self, work: Work, results: Results, find_documents: Callable[[], Documents]) -> None:
        self._work = work
        self._results = results
        self._find_documents = find_documents

    def answer(self, record: SQSRecord) -> Generator[None, None, None]:
        """Answer a message and keep the result.

        Raises:
            Exception: There is none; the message goes back to its queue.
        """
        values = message_values(record)
        if is_notification(values):
            documents = yield from self._work.elsewhere(self._find_documents)
            yield from documents.answer(record, values)
            return
        job = message_job(record, values, self._work.model.served)
        key = job.idempotency_key
        assert key is not None
        yield from self._work.alone(key, lambda: self._answer(job, key))

    def _answer(self, job: Job, key: str) -> Generator[None, None, None]:
        if (yield from self._work.elsewhere(lambda: self._results.has(key))):
            self._work.telemetry.repeated(job)
            return
        result = yield from self._work.whole(job)
        yield from self._work.elsewhere(lambda: self._results.keep(key, result))

    def step(self) -> None:
        """Bring the answers forward."""
        self._work.step()

    def failed(self, record: SQSRecord, error: Exception) -> None:
        """Tell why a message comes back."""
        self._work.telemetry.failed("sqs", record.message_id, error)
