from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.errors import UnknownEvent
from handler.worker.events import Batch, HttpEvent, Invoke, read_event
from tests.handler.worker.messages import batch, http, message

MEMBERS = [*message("m"), *http(), *http()["requestContext"], "Records", "prompt", "messages", "detail-type", "x"]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4),
)


@given(st.one_of(JSON, st.fixed_dictionaries({"Records": st.lists(JSON)})))
def test_any_json_is_an_event_or_refused(event: Any) -> None:
    with suppress(UnknownEvent):
        assert isinstance(read_event(event), Invoke | Batch | HttpEvent)


@pytest.mark.parametrize("event", [{"prompt": "hi"}, {"messages": []}, {"prompt": None}])
def test_a_request_is_an_invoke(event: Any) -> None:
    assert read_event(event) == Invoke(event)


def test_a_function_urls_request_is_http() -> None:
    event = http("POST", "/v1/a%20b", '{"x": 1}') | {"rawQueryString": "q=1", "headers": {"X-A": "b"}}
    read = read_event(event)
    context = event["requestContext"]
    assert read == HttpEvent("POST", "/v1/a b", "q=1", {"x-a": "b"}, b'{"x": 1}', context)


def test_a_stage_is_no_part_of_the_path() -> None:
    event = http("GET", "/prod/health")
    event["requestContext"]["stage"] = "prod"
    read = read_event(event)
    assert isinstance(read, HttpEvent)
    assert read.path == "/health"


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
        ({}, "the event is empty"),
        (batch(), "without a record"),
        (batch(message("a"), message("b") | {"eventSource": "aws:s3"}), r"Records\[1\].eventSource is 'aws:s3'"),
        (batch(message("a") | {"eventSource": "aws:s3"}), "comes from 'aws:s3'"),
        (batch({"EventSource": "aws:sns"}), "comes from SNS"),
        ({"httpMethod": "GET", "path": "/", "requestContext": {"stage": "prod"}}, "payload format 1.0"),
        ({"httpMethod": "GET", "path": "/", "requestContext": {"elb": {}}}, "a load balancer"),
        ({"requestContext": {"connectionId": "x"}}, "WebSocket"),
        ({"source": "aws.events", "detail-type": "Scheduled Event"}, r"EventBridge \('aws.events'\)"),
        (http() | {"rawPath": None}, "rawPath is null"),
        (http() | {"body": 7}, "body is 7"),
        (http() | {"body": "*", "isBase64Encoded": True}, "no base64"),
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
