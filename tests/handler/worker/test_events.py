from typing import Any

import pytest

from handler.errors import UnknownEvent
from handler.worker.events import Batch, Invoke, read_event
from tests.handler.worker.messages import batch, message


@pytest.mark.parametrize("event", [{"prompt": "hi"}, {"messages": []}, {"prompt": None}])
def test_a_request_is_an_invoke(event: Any) -> None:
    assert read_event(event) == Invoke(event)


def test_messages_are_a_batch() -> None:
    event = batch(message("a"), message("b"))
    assert read_event(event) == Batch(event["Records"], fifo=False)


def test_a_fifo_queue_is_known_by_its_name() -> None:
    read = read_event(batch(message("a", group="g")))
    assert isinstance(read, Batch)
    assert read.fifo


@pytest.mark.parametrize(
    ("event", "named"),
    [
        ({"version": "2.0", "rawPath": "/"}, "'version', 'rawPath'"),
        ({}, "none"),
        (batch(), "'Records'"),
        (batch(message("a"), message("b") | {"eventSource": "aws:s3"}), r"Records\[1\].eventSource is 'aws:s3'"),
        (batch({"EventSource": "aws:sns"}), "null"),
        ({"Records": [7]}, r"Records\[0\] is 7"),
        (batch(message("a") | {"messageId": None}), "messageId is null"),
        (batch(message("a") | {"body": {}}), "body is an object"),
        (batch(message("a") | {"attributes": None}), "attributes is null"),
        (batch(message("a") | {"messageAttributes": []}), "messageAttributes is an array"),
    ],
)
def test_anything_else_is_refused_by_what_it_has(event: Any, named: str) -> None:
    with pytest.raises(UnknownEvent, match=named):
        read_event(event)
