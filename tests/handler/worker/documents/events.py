"""What S3 and EventBridge write into a queue."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_plus

INPUT = "input"
ETAG = "d41d8cd98f00b204e9800998ecf8427e"


def s3_record(
    key: str = "documents/a.txt", bucket: str = INPUT, name: str = "ObjectCreated:Put", **members: Any
) -> dict[str, Any]:
    """One record of S3's event; members of the object that are None are left out."""
    given = {"key": quote_plus(key), "size": 5, "eTag": ETAG, "sequencer": "0055AED6DCD90281E5", **members}
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": "2026-11-01T10:00:00.000Z",
        "eventName": name,
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "documents",
            "bucket": {"name": bucket, "ownerIdentity": {"principalId": "A3"}, "arn": f"arn:aws:s3:::{bucket}"},
            "object": {name: value for name, value in given.items() if value is not None},
        },
    }


def s3_event(*records: dict[str, Any]) -> dict[str, Any]:
    return {"Records": list(records or [s3_record()])}


def bridge_event(key: str = "documents/a b.txt", detail_type: str = "Object Created") -> dict[str, Any]:
    """The same by EventBridge."""
    found = {"key": key, "size": 5, "etag": ETAG, "version-id": "v1", "sequencer": "1"}
    return {
        "version": "0",
        "detail-type": detail_type,
        "source": "aws.s3",
        "region": "us-east-1",
        "resources": [f"arn:aws:s3:::{INPUT}"],
        "detail": {"version": "0", "bucket": {"name": INPUT}, "object": found, "reason": "PutObject"},
    }


TEST_EVENT = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2026-11-01T10:00:00.000Z",
    "Bucket": INPUT,
    "RequestId": "5582815E1AEA5ADF",
    "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR",
}
