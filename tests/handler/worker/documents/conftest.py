"""A bucket with versions that documents are put into, and what the worker says of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from tests.handler.worker.conftest import BUCKET
from tests.handler.worker.documents.events import INPUT, s3_event, s3_record
from tests.handler.worker.messages import message


@dataclass
class Buckets:
    """Both of them, in moto's S3."""

    s3: Any

    def put(self, key: str, body: str | bytes, instruction: str | None = None, **others: Any) -> dict[str, Any]:
        """Put a document there; returns the record that S3 would send of it."""
        request = others.pop("request", None)
        metadata = {} if instruction is None else {"instruction": instruction}
        metadata |= {} if request is None else {"request": json.dumps(request)}
        content = body.encode() if isinstance(body, str) else body
        key = f"documents/{key}"
        answer = self.s3.put_object(Bucket=INPUT, Key=key, Body=content, Metadata=metadata, **others)
        etag = answer["ETag"].strip('"')
        return s3_record(key, versionId=answer.get("VersionId"), eTag=etag, size=len(content))

    def kept(self, prefix: str = "results/") -> dict[str, Any]:
        """What lies in the bucket of results, by its name."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return {key: json.load(self.s3.get_object(Bucket=BUCKET, Key=key)["Body"]) for key in keys}

    def result(self) -> Any:
        """The only one."""
        [result] = self.kept().values()
        return result


@pytest.fixture
def buckets(s3: Any, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Buckets]:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", s3_url)
    s3.create_bucket(Bucket=INPUT)
    s3.put_bucket_versioning(Bucket=INPUT, VersioningConfiguration={"Status": "Enabled"})
    yield Buckets(s3)
    bucket = boto3.resource("s3").Bucket(INPUT)
    bucket.object_versions.delete()
    bucket.delete()


def told(*records: dict[str, Any], id: str = "m1") -> dict[str, Any]:
    """A message about documents."""
    return message(id, s3_event(*records))
