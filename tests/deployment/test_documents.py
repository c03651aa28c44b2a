"""Documents that are put into the deployed bucket, by S3's notification through the queue to their results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deployment.functions import run_deployed
from tests.deployment.leftovers import aws
from tests.deployment.test_worker import SOON, wait
from tests.deployment.workspace import Workspace
from tests.image.local.lambda_process import LocalLambda

LONG = " ".join(f"In year {year} the brick works made {year % 97} ovens and sold them." for year in range(300))


@pytest.fixture(scope="module")
def running(deployed: Workspace) -> Iterator[LocalLambda]:
    queue = deployed.outputs()["queue_url"]
    with run_deployed(deployed, "worker", "--queue", queue, "--concurrency", "2", *SOON) as running:
        yield running


def test_what_is_put_there_is_answered_or_told_why_not(deployed: Workspace, running: LocalLambda) -> None:
    s3, buckets = aws(deployed.endpoint, "s3"), deployed.outputs()["buckets"]

    def put(name: str, body: bytes, **others: Any) -> None:
        metadata = {"instruction": "Summarize this.", "request": json.dumps({"max_tokens": 20})}
        s3.put_object(Bucket=buckets["input"], Key=name, Body=body, Metadata=metadata, **others)

    def kept(prefix: str) -> list[Any]:
        items = s3.list_objects_v2(Bucket=buckets["results"], Prefix=prefix).get("Contents", [])
        return [json.load(s3.get_object(Bucket=buckets["results"], Key=item["Key"])["Body"]) for item in items]

    put("documents/a short one.md", b"# Bricks\n\nThey are red.", ContentType="text/markdown")
    put("documents/long.txt", LONG.encode(), ContentType="text/plain")
    put("documents/poison.pdf", b"%PDF-1.7", ContentType="application/pdf")
    put("elsewhere/a.txt", b"Nobody asked for this.")
    wait(lambda: len(kept("results/documents/")) == 2 and bool(kept("failed/")), running)

    plans = {result["source"]["key"]: result["plan"] for result in kept("results/documents/")}
    assert plans["documents/a short one.md"]["parts"] == 1
    assert plans["documents/long.txt"]["parts"] > 3
    assert plans["documents/long.txt"]["levels"] >= 1
    [reason] = kept("failed/")
    assert (reason["source"]["key"], reason["error"]["code"]) == ("documents/poison.pdf", "document_unsupported")
    sqs, dead = aws(deployed.endpoint, "sqs"), deployed.outputs()["dead_letter_queue_url"]
    found: list[str] = []

    def received() -> bool:
        found.extend(message["Body"] for message in sqs.receive_message(QueueUrl=dead).get("Messages", []))
        return bool(found)

    wait(received, running)
    assert "poison.pdf" in found[0]
