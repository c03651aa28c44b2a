"""A message about documents → their kept results."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from handler.errors import ApiError, NotEnoughTime, ResultsUnavailable
from handler.settings import Settings
from handler.worker.clients import Setting, make_client
from handler.worker.documents.asking import read_asking
from handler.worker.documents.notifications import Source, read_notification
from handler.worker.documents.objects import Objects
from handler.worker.documents.parts import Parts
from handler.worker.documents.plan import Plan, make_plan
from handler.worker.documents.queue import Queue, takes_back
from handler.worker.documents.reading import Found, read_document
from handler.worker.documents.result import document_result
from handler.worker.jobs import sent_at
from handler.worker.results import Results
from handler.worker.work import Work

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord


@dataclass(frozen=True)
class Desk:
    """What stays from one document to the next.

    Attributes:
        settings: Which bucket, what instruction, how many bytes.
        objects: What lies in S3.
        queue: Takes messages again.
    """

    settings: Settings
    objects: Objects
    queue: Queue


@dataclass(frozen=True)
class Answering:
    """A message on its way, and its document's key, as the log names them."""

    id: str
    idempotency_key: str | None
    source: Literal["s3"] = "s3"


class Documents:
    """Answers messages about documents.

    Args:
        work: What answers.
        results: Where results are kept, under `documents/`.
        desk: All else.
    """

    def __init__(self, work: Work, results: Results, desk: Desk) -> None:
        self._work = work
        self._results = results
        self._desk = desk

    def answer(self, record: SQSRecord, values: Mapping[str, Any]) -> Generator[None, None, None]:
        """Answer all documents that a message tells of.

        Raises:
            Exception: One of them has no result; the message goes back to its queue. The others have theirs.
        """
        try:
            sources = read_notification(values, self._desk.settings.input_bucket)
        except ApiError as error:
            yield from self._tell_failure(f"messages/{record.message_id}", record, None, error)
            raise
        news: list[str] = []
        errors: list[Exception] = []
        for source in sources:
            try:
                yield from self._work.alone(source.name, partial(self._answer, record, source, news))
            except Exception as error:
                errors.append(error)
                yield from self._tell_failure(source.name, record, source, error)
        if not errors:
            return
        late = all(isinstance(error, NotEnoughTime) for error in errors)
        # What gets on never ends in the dead-letter queue, and what doesn't isn't sent for ever.
        if not (late and news and takes_back(record)):
            raise next((error for error in errors if not isinstance(error, NotEnoughTime)), errors[0])
        yield from self._work.elsewhere(lambda: self._desk.queue.send_again(record))
        self._work.telemetry.told("continued", Answering(record.message_id, None))

    def _tell_failure(
        self, name: str, record: SQSRecord, source: Source | None, error: Exception
    ) -> Generator[None, None, None]:
        """Write down what is wrong with a document or a message; what is wrong here, the log tells."""
        if isinstance(error, ApiError) and error.status < 500:
            told = {"job": record.message_id, "source": source and source.members(), **error.body()}
            with suppress(ResultsUnavailable):  # The log and the dead-letter queue have it, too.
                yield from self._work.elsewhere(lambda: self._desk.objects.tell_failure(name, told))

    def _answer(self, record: SQSRecord, source: Source, news: list[str]) -> Generator[None, None, None]:
        """Answer one, and note what is kept that wasn't before."""
        work, told = self._work, Answering(record.message_id, source.name)
        if (yield from work.elsewhere(lambda: self._results.has(source.name))):
            work.telemetry.repeated(told)
            return
        found = yield from work.elsewhere(
            lambda: self._desk.objects.read(source, self._desk.settings.document_max_bytes)
        )
        if found is None:
            work.telemetry.told("superseded", told)
            return
        plan = yield from work.elsewhere(lambda: self._plan(source, found))
        parts = Parts(work, self._desk.objects, plan, record.message_id, sent_at(record), news)
        try:
            records = yield from parts.answers()
        except NotEnoughTime:
            work.telemetry.told("unfinished", told, plan=plan.id, parts=plan.count, new=len(news))
            raise
        result = document_result(plan, record.message_id, records)
        yield from work.elsewhere(lambda: self._results.keep(source.name, result))
        news.append(source.name)
        work.telemetry.told("document", told, **result["plan"], **result["timings"])

    def _plan(self, source: Source, found: Found) -> Plan:
        settings, model = self._desk.settings, self._work.model
        document = read_document(found, source.key, settings.document_max_bytes)
        asking = read_asking(found.metadata, settings.document_instruction, settings.document_request, model.served)
        plan = make_plan(source, document, asking, model)
        if not plan.single:
            self._desk.queue.connect()  # At the deadline there would be no time for it.
        return plan


def make_desk(settings: Settings, bucket: str, region: str | None) -> Desk:
    """Make clients; nothing is sent yet.

    Args:
        settings: The function's.
        bucket: Where results are kept.
        region: Of both buckets and the queue.

    Raises:
        SettingsError: As `make_client`'s.
    """
    setting = Setting("FIREBRICK_RESULTS_BUCKET", bucket, "a bucket")
    objects = Objects(make_client("s3", region, setting), bucket)
    return Desk(settings, objects, Queue(partial(make_client, "sqs", region, setting)))
