"""What S3 tells of its objects → the documents that it tells of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import quote, unquote_plus

from handler.api.members import Members
from handler.errors import ApiError, DocumentsUnconfigured, NotificationRefused, shown

PREFIX = "documents/"
LONGEST_NAME = 900  # bytes of a result's key: S3 takes 1,024, and plans, results and failures add words of their own
_CREATED = re.compile(r"(s3:)?ObjectCreated:\w+|Object Created")


@dataclass(frozen=True)
class Source:
    """One version of a document.

    Attributes:
        bucket: Where it lies.
        key: Its name there.
        version_id: S3's; None where the bucket has no versions.
        etag: Without quotes.
        size: In bytes, as stored; None if it isn't known.
        sequencer: Orders the events of one key.
    """

    bucket: str
    key: str
    version_id: str | None
    etag: str
    size: int | None
    sequencer: str | None

    @property
    def version(self) -> str:
        """What tells it from the object's other versions; in a bucket without any, from what is put there later."""
        return self.version_id or "-".join(part for part in (self.etag, self.sequencer) if part)

    @property
    def name(self) -> str:
        """Names its result: key and version; the key's hash where it is too long."""
        version = quote(self.version, safe="")
        name = f"{self.key}/{version}"
        if len(name.encode()) <= LONGEST_NAME:
            return name
        return f"{PREFIX}{sha256(self.key.encode()).hexdigest()}/{version}"

    def members(self) -> dict[str, Any]:
        """What results and plans say of it."""
        return {"bucket": self.bucket, "key": self.key, "version_id": self.version_id, "etag": self.etag}


def read_notification(values: Mapping[str, Any], bucket: str | None) -> list[Source]:
    """Tell which documents a message is about; none where S3 only tries the queue, or a folder was made.

    Args:
        values: The message's body: S3's event, or EventBridge's.
        bucket: The one that documents may come from.

    Raises:
        DocumentsUnconfigured: There is none.
        NotificationRefused: It is about something else: another bucket, another prefix, another event.
    """
    if values.get("Event") == "s3:TestEvent":
        return []
    if bucket is None:
        raise DocumentsUnconfigured()
    try:
        sources = list(_read(values))
    except NotificationRefused:
        raise
    except ApiError as error:  # of a member's type
        raise NotificationRefused(error.message) from None
    for source in sources:
        if source.bucket != bucket:
            raise NotificationRefused(f"the bucket is {shown(source.bucket)}, documents come from {bucket} only")
        if not source.key.startswith(PREFIX):
            raise NotificationRefused(f"the key is {shown(source.key)}, documents lie under {PREFIX}")
    # What a console shows as a folder is an empty object.
    return [source for source in sources if not source.key.endswith("/")]


def _read(values: Mapping[str, Any]) -> Iterator[Source]:
    if "detail-type" in values:
        yield _of_event_bridge(values)
        return
    records = Members(values).array("Records")
    if not records:
        raise NotificationRefused(f"the event is {shown(values.get('Event'))}, without Records")
    for index, record in enumerate(records):
        yield _of_s3(record, f"Records[{index}]")


def _of_s3(record: object, path: str) -> Source:
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    if not isinstance(record, dict):
        raise NotificationRefused(f"{path} is {shown(record)}")
    if record.get("eventSource") != "aws:s3":
        raise NotificationRefused(f"{path}.eventSource is {shown(record.get('eventSource'))}")
    _check_created(record.get("eventName"), f"{path}.eventName")
    s3 = _object(record, "s3", path)
    found = _object(s3, "object", f"{path}.s3")
    bucket = Members(_object(s3, "bucket", f"{path}.s3"), f"{path}.s3.bucket.").required("name")
    members = Members(found, f"{path}.s3.object.")
    return _source(bucket, unquote_plus(members.required("key")), members, "versionId", "eTag")


def _of_event_bridge(event: Mapping[str, Any]) -> Source:
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html: its keys aren't encoded
    if event.get("source") != "aws.s3":
        raise NotificationRefused(f"source is {shown(event.get('source'))}")
    _check_created(event["detail-type"], "detail-type")
    detail = _object(event, "detail", "the event")
    bucket = Members(_object(detail, "bucket", "detail"), "detail.bucket.").required("name")
    members = Members(_object(detail, "object", "detail"), "detail.object.")
    return _source(bucket, members.required("key"), members, "version-id", "etag")


def _source(bucket: str, key: str, members: Members, version: str, etag: str) -> Source:
    version_id = members.text(version)
    return Source(
        bucket,
        key,
        # Where versions are suspended, all objects have this one.
        None if version_id in (None, "", "null") else version_id,
        members.required(etag).strip('"'),
        members.integer("size", 0),
        members.text("sequencer"),
    )


def _check_created(name: object, path: str) -> None:
    if not (isinstance(name, str) and _CREATED.fullmatch(name)):
        raise NotificationRefused(f"{path} is {shown(name)}, only objects that are created are answered")


def _object(values: Mapping[str, Any], name: str, path: str) -> Mapping[str, Any]:
    found = values.get(name)
    if not isinstance(found, dict):
        raise NotificationRefused(f"{path}.{name} is {shown(found)}")
    return found
