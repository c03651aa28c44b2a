"""Bucket, queue and dead-letter queue, in moto's server as a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from bench.batch_load.documents import Document
from bench.port import free_port

REGION = "us-east-1"
KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_REGION": REGION}
INPUT, RESULTS = "input", "results"
START_S = 60.0


@dataclass(frozen=True)
class Limits:
    """Of the queue.

    Attributes:
        visibility_s: until a message that failed is seen again.
        max_receive_count: after which it is given up.
    """

    visibility_s: int
    max_receive_count: int


class Account:
    """What documents go through, and what has become of them.

    Args:
        url: of the server that stands in for AWS.
        limits: of the queue.
    """

    def __init__(self, url: str, limits: Limits) -> None:
        self.url = url
        self._s3, self._sqs = _client("s3", url), _client("sqs", url)
        self.dead_url: str = self._sqs.create_queue(QueueName="dead")["QueueUrl"]
        redrive = {"deadLetterTargetArn": self._arn(self.dead_url), "maxReceiveCount": str(limits.max_receive_count)}
        attributes = {"VisibilityTimeout": str(limits.visibility_s), "RedrivePolicy": json.dumps(redrive)}
        self.queue_url: str = self._sqs.create_queue(QueueName="jobs", Attributes=attributes)["QueueUrl"]
        for bucket in (INPUT, RESULTS):
            self._s3.create_bucket(Bucket=bucket)
            # The results' versions tell whether one was written twice.
            self._s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    def _arn(self, queue: str) -> str:
        found = self._sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        return str(found["Attributes"]["QueueArn"])

    def put(self, documents: Sequence[Document], doubled: int = 0) -> None:
        """Put documents, and tell the queue of each as S3 does, of every `doubled`-th one twice."""
        with ThreadPoolExecutor(4) as pool:
            list(
                pool.map(
                    lambda pair: self._put(pair[1], bool(doubled) and pair[0] % doubled == 0), enumerate(documents)
                )
            )

    def _put(self, document: Document, twice: bool) -> None:
        put = self._s3.put_object(
            Bucket=INPUT,
            Key=document.key,
            Body=document.body,
            ContentType=document.content_type,
            Metadata=document.metadata,
        )
        # As S3 writes it: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
        # moto's own have no version.
        about = {"key": quote_plus(document.key), "size": len(document.body), "eTag": put["ETag"].strip('"')}
        record = {
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": INPUT}, "object": {**about, "versionId": put["VersionId"]}},
        }
        for _ in range(1 + twice):
            self._sqs.send_message(QueueUrl=self.queue_url, MessageBody=json.dumps({"Records": [record]}))

    def left(self) -> tuple[int, int]:
        """How many messages the queue has, visible or not, and the dead-letter queue."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        jobs, dead = (
            self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
            for url in (self.queue_url, self.dead_url)
        )
        return sum(map(int, jobs.values())), sum(map(int, dead.values()))

    def versions(self, prefix: str) -> Counter[str]:
        """How often each object of the results' bucket was written."""
        pages = self._s3.get_paginator("list_object_versions").paginate(Bucket=RESULTS, Prefix=prefix)
        return Counter(item["Key"] for page in pages for item in page.get("Versions", []))

    def read(self, name: str) -> dict[str, Any]:
        """An object of the results' bucket."""
        found: dict[str, Any] = json.loads(self._s3.get_object(Bucket=RESULTS, Key=name)["Body"].read())
        return found

    def dead(self) -> Iterator[str]:
        """The documents that were given up; taken from their queue."""
        while messages := self._sqs.receive_message(QueueUrl=self.dead_url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                for record in json.loads(message["Body"]).get("Records", []):
                    yield unquote_plus(record["s3"]["object"]["key"])
                self._sqs.delete_message(QueueUrl=self.dead_url, ReceiptHandle=message["ReceiptHandle"])


def _client(service: str, url: str) -> Any:
    from botocore.config import Config
    from botocore.session import Session

    keys = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench"}
    config = Config(read_timeout=120, max_pool_connections=8, retries={"mode": "standard", "total_max_attempts": 5})
    return Session().create_client(service, region_name=REGION, endpoint_url=url, config=config, **keys)


@contextmanager
def opened(limits: Limits) -> Iterator[Account]:
    """An account of its own, gone at the end.

    Raises:
        SystemExit: moto isn't installed, or its server doesn't start.
    """
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(
        command, env={**os.environ, **KEYS}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("error: moto's server doesn't start: `make setup` installs it") from None
                time.sleep(0.05)
        yield Account(f"http://127.0.0.1:{port}", limits)
    finally:
        process.kill()
        process.wait()
