from __future__ import annotations

import json
import re
from typing import Any

import pytest

from image.local.batch import AnswerMalformed, Message, failed_ids, make_event, make_message, split

ARN = "arn:aws:sqs:eu-west-1:123456789012:jobs"
RECEIVED: dict[str, Any] = {
    "MessageId": "m1",
    "ReceiptHandle": "r1",
    "MD5OfBody": "0",
    "Body": "é\u0007",
    "Attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183"},
    "MD5OfMessageAttributes": "1",
    "MessageAttributes": {
        "text": {"DataType": "String", "StringValue": "v"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    },
}


def message(id: str, size: int = 100) -> Message:
    return Message(id, "r" + id, None, 0.0, b"x" * size)


def test_a_record_as_lambda_writes_it() -> None:
    [record] = json.loads(make_event([make_message(RECEIVED, ARN, 0.0)]))["Records"]
    assert record == {
        "messageId": "m1",
        "receiptHandle": "r1",
        "body": "é\u0007",
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183"},
        "messageAttributes": {
            "text": {"stringValue": "v", "stringListValues": [], "binaryListValues": [], "dataType": "String"},
            "bytes": {"binaryValue": "AP8=", "stringListValues": [], "binaryListValues": [], "dataType": "Binary"},
        },
        "md5OfMessageAttributes": "1",
        "md5OfBody": "0",
        "eventSource": "aws:sqs",
        "eventSourceARN": ARN,
        "awsRegion": "eu-west-1",
    }


def test_only_a_fifo_queue_has_groups() -> None:
    grouped = {**RECEIVED, "Attributes": {"MessageGroupId": "g"}}
    assert make_message(grouped, ARN, 0.0).group is None
    assert make_message(grouped, ARN + ".fifo", 0.0).group == "g"


def test_batches_are_split_by_count() -> None:
    batches = split([message(str(number)) for number in range(5)], 2, 10_000)
    assert [[one.id for one in batch] for batch in batches] == [["0", "1"], ["2", "3"], ["4"]]


def test_batches_are_split_by_the_size_of_the_event() -> None:
    messages = [message(str(number), size) for number, size in enumerate((400, 500, 300, 900, 100))]
    batches = split(messages, 10, 1000)
    assert [[one.id for one in batch] for batch in batches] == [["0", "1"], ["2"], ["3"], ["4"]]
    assert all(len(make_event(batch)) <= 1000 for batch in batches)


@pytest.mark.parametrize(
    "answer",
    [b"", b"null", b"{}", b'{"batchItemFailures": null}', b'{"batchItemFailures": []}', b'{"statusCode": 200}'],
)
def test_answers_in_which_nothing_failed(answer: bytes) -> None:
    assert failed_ids(answer, {"a", "b"}) == set()


def test_an_answer_that_names_what_failed() -> None:
    assert failed_ids(b'{"batchItemFailures": [{"itemIdentifier": "b"}]}', {"a", "b"}) == {"b"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("{", "not JSON"),
        ('"done"', "not an object"),
        ("[]", "not an object"),
        ('{"batchItemFailures": {}}', "not a list"),
        ('{"batchItemFailures": ["b"]}', "None"),
        ('{"batchItemFailures": [{"itemIdentifier": ""}]}', "''"),
        ('{"batchItemFailures": [{"itemIdentifier": null}]}', "None"),
        ('{"batchItemFailures": [{"id": "b"}]}', "None"),
        ('{"batchItemFailures": [{"itemIdentifier": "other"}]}', "'other'"),
    ],
)
def test_answers_that_are_none(answer: str, reason: str) -> None:
    with pytest.raises(AnswerMalformed, match=re.escape(reason)):
        failed_ids(answer.encode(), {"a", "b"})
