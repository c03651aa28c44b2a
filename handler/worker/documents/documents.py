"""A message about documents → their kept results."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from handler.errors import ApiError, NotEnoughTime, ResultsUnavailable
from handler.settings import Settings
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
    from botocore.client import BaseClient


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
    """A document on its way, as the log names it."""

    id: str
    idempotency_key: str
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
        first: Exception | None = None
        for source in read_notification(values, self._desk.settings.input_bucket):
            try:
                yield from self._work.alone(source.name, lambda source=source: self._kept(record, source))  # type: ignore[misc]
            except Exception as error:
                first = first or error
        if first is not None:
            raise first

    def _kept(self, record: SQSRecord, source: Source) -> Generator[None, None, None]:
        try:
            yield from self._answer(record, source)
        except ApiError as error:
            if error.status < 500:
                with suppress(ResultsUnavailable):  # The log and the dead-letter queue have it, too.
                    reason = {"job": record.message_id, "source": source.members(), **error.body()}
                    yield from self._work.elsewhere(lambda: self._desk.objects.tell_failure(source, reason))
            raise

    def _answer(self, record: SQSRecord, source: Source) -> Generator[None, None, None]:
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
        parts = Parts(work, self._desk.objects, plan, record.message_id, sent_at(record))
        try:
            records = yield from parts.answers()
        except NotEnoughTime:
            # Who gets on never ends in the dead-letter queue, and who doesn't isn't sent for ever.
            if not parts.kept or not takes_back(record):
                raise
            yield from work.elsewhere(lambda: self._desk.queue.send_again(record))
            work.telemetry.told("continued", told, plan=plan.id, parts=plan.count, kept=parts.kept)
            return
        result = document_result(plan, record.message_id, records)
        yield from work.elsewhere(lambda: self._results.keep(source.name, result))
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
    """
    from botocore.config import Config
    from botocore.session import Session

    session = Session()
    config = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})

    def client(service: str) -> BaseClient:
        return session.create_client(service, region_name=region, config=config)

    return Desk(settings, Objects(client("s3"), bucket), Queue(lambda: client("sqs")))
