"""SQS events as Lambda writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

QUEUE = "arn:aws:sqs:us-east-1:123456789012:jobs"


def message(
    id: str, body: object = None, group: str | None = None, attributes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """One message; a body that is no text is written as JSON."""
    text = body if isinstance(body, str) else json.dumps({"prompt": "hi"} if body is None else body)
    return {
        "messageId": id,
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a…",
        "body": text,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1545082649183",
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1545082649185",
            **({"MessageGroupId": group, "SequenceNumber": "1"} if group else {}),
        },
        "messageAttributes": {
            name: {"stringValue": value, "stringListValues": [], "binaryListValues": [], "dataType": "String"}
            for name, value in (attributes or {}).items()
        },
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": f"{QUEUE}.fifo" if group else QUEUE,
        "awsRegion": "us-east-1",
    }


def http(method: str = "GET", path: str = "/health", body: str | None = None, **headers: str) -> dict[str, Any]:
    """A function URL's request, in payload format 2.0."""
    domain = "abc.lambda-url.us-east-1.on.aws"
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": domain, **{name.replace("_", "-"): value for name, value in headers.items()}},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "abc",
            "domainName": domain,
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "x"},
            "requestId": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
            "routeKey": "$default",
            "stage": "$default",
        },
        **({} if body is None else {"body": body}),
        "isBase64Encoded": False,
    }


def batch(*messages: dict[str, Any]) -> dict[str, Any]:
    """An event."""
    return {"Records": list(messages)}


def failed(answer: Mapping[str, Any]) -> list[str]:
    """The ids in a partial batch response."""
    assert set(answer) == {"batchItemFailures"}
    return [item["itemIdentifier"] for item in answer["batchItemFailures"]]
