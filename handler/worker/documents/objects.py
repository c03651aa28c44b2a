"""What of a document lies in S3: itself, its plan, its parts' answers, and why it has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from handler.api.events import json_bytes
from handler.errors import DocumentGone, DocumentTooLarge, DocumentUnavailable, ResultsUnavailable
from handler.worker.documents.notifications import Source
from handler.worker.documents.plan import Plan
from handler.worker.documents.reading import Found
from handler.worker.results import Bucket, Result

if TYPE_CHECKING:
    from botocore.client import BaseClient

PLANS, PARTS, FAILED = "plans/", "parts/", "failed/"
GONE = ("NoSuchKey", "NoSuchVersion", "MethodNotAllowed")  # the last one is a delete marker's
OVERWRITTEN = "PreconditionFailed"


class Objects:
    """Reads documents from one bucket and writes what becomes of them into another.

    Args:
        client: botocore's, for S3.
        bucket: Where plans, parts and failures are kept, beside the results.
    """

    def __init__(self, client: BaseClient, bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self._plans = Bucket(bucket, client, PLANS)
        self._parts = Bucket(bucket, client, PARTS)

    def read(self, source: Source, limit: int) -> Found | None:
        """Read a document; None if another one has taken its place, of which there is another event.

        Args:
            source: Which version.
            limit: Bytes that it may have.

        Raises:
            DocumentGone: It was deleted.
            DocumentTooLarge: It has more bytes.
            DocumentUnavailable: S3 doesn't give it.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        if source.size is not None and source.size > limit:
            raise DocumentTooLarge(limit)
        url = f"s3://{source.bucket}/{source.key}"
        version = {"IfMatch": f'"{source.etag}"'} if source.version_id is None else {"VersionId": source.version_id}
        try:
            answer = self._client.get_object(Bucket=source.bucket, Key=source.key, **version)
            body = answer["Body"].read(limit + 1)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == OVERWRITTEN:
                return None
            if code in GONE:
                raise DocumentGone(url, source.version) from None
            raise DocumentUnavailable(url, str(error)) from None
        except BotoCoreError as error:
            raise DocumentUnavailable(url, str(error)) from None
        if len(body) > limit:
            raise DocumentTooLarge(limit)
        return Found(body, answer.get("ContentType", ""), answer.get("ContentEncoding", ""), answer["Metadata"])

    def keep_plan(self, plan: Plan) -> bool:
        """Write a plan down; returns whether it is new.

        Raises:
            ResultsUnavailable: S3 doesn't take it.
        """
        return self._plans.keep(f"{plan.source.name}/{plan.id}", plan.members())

    def parts(self, plan_id: str) -> list[str]:
        """The names of a plan's parts that are answered.

        Raises:
            ResultsUnavailable: S3 doesn't say.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        prefix = f"{PARTS}{plan_id}/"
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        except (BotoCoreError, ClientError) as error:
            raise ResultsUnavailable(f"listing s3://{self._bucket}/{prefix}", str(error)) from None
        return [key.removeprefix(prefix).removesuffix(".json") for key in keys]

    def part(self, plan_id: str, name: str) -> Result | None:
        """The answer of a part.

        Raises:
            ResultsUnavailable: S3 doesn't give it.
        """
        return self._parts.read(f"{plan_id}/{name}")

    def keep_part(self, plan_id: str, name: str, result: Result) -> Result:
        """Keep a part's answer; returns the one that stands, which may be another worker's.

        Raises:
            ResultsUnavailable: S3 doesn't take it.
        """
        if self._parts.keep(f"{plan_id}/{name}", result):
            return result
        return self.part(plan_id, name) or result

    def tell_failure(self, name: str, reason: Mapping[str, Any]) -> None:
        """Write down why a document, or a message, has no result; a later failure takes an earlier one's place.

        Raises:
            ResultsUnavailable: S3 doesn't take it.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        key = f"{FAILED}{name}.json"
        try:
            self._client.put_object(
                Bucket=self._bucket, Key=key, Body=json_bytes(reason), ContentType="application/json"
            )
        except (BotoCoreError, ClientError) as error:
            raise ResultsUnavailable(f"writing s3://{self._bucket}/{key}", str(error)) from None
