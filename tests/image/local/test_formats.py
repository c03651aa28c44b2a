"""Prelude, event stream, log lines, URL events: bytes in, bytes out."""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import json
from collections.abc import AsyncIterator

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from image.local.errors import OutOfMemory, Reported, RuntimeExited, TimedOut
from image.local.event_stream import invoke_complete, message, payload_chunk
from image.local.limits import LOG_TAIL_BYTES
from image.local.logs import Log, Usage
from image.local.prelude import SEPARATOR, Head, HeadInvalid, parse_head, split_prelude
from image.local.settings import Settings
from image.local.url_event import HttpRequest, make_event, read_buffered


async def parts(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@given(st.lists(st.integers(0, 60)))
def test_the_prelude_may_come_in_any_pieces(cuts: list[int]) -> None:
    whole = b'{"statusCode":404,"headers":{"a":"b"}}' + SEPARATOR + b"body"
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [whole[start:end] for start, end in itertools.pairwise(edges)]

    async def scenario() -> tuple[Head, bytes]:
        stream = parts(pieces)
        head, first = await split_prelude(stream)
        return head, first + b"".join([chunk async for chunk in stream])

    assert asyncio.run(scenario()) == (Head(404, (("a", "b"),)), b"body")


def test_headers_about_the_connection_are_the_front_ends() -> None:
    given = {"content-length": "4", "Transfer-Encoding": "chunked", "Date": "now", "x": "y"}
    assert parse_head(json.dumps({"headers": given}).encode()) == Head(200, (("x", "y"),))


@pytest.mark.parametrize(
    "prelude",
    [
        b"",
        b"[]",
        b'{"statusCode": "x"}',
        b'{"headers": [1]}',
        b"\xff",
        b'{"statusCode": 99}',
        b'{"headers": {"a": "b\\nc"}}',
        b'{"headers": {"a b": ""}}',
    ],
)
def test_preludes_that_are_none(prelude: bytes) -> None:
    with pytest.raises(HeadInvalid):
        parse_head(prelude)


@given(st.dictionaries(st.text(min_size=1, max_size=50), st.text(max_size=50), max_size=5), st.binary(max_size=200))
def test_botocore_reads_our_event_stream(headers: dict[str, str], payload: bytes) -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(message(headers, payload))
    [event] = list(buffer)
    assert (event.headers, event.payload) == (headers, payload)


def test_the_bytes_of_a_chunk() -> None:
    encoded = payload_chunk(b"x")
    assert encoded[:12].hex() == "0000006b0000005a007e21df"
    assert encoded[12:27] == b"\x0d:message-type\x07"
    assert encoded[-5:-4] == b"x"


def test_the_last_message_says_only_what_there_is() -> None:
    assert b"{}" in invoke_complete(None, None, None)
    assert b'{"ErrorCode": "E", "ErrorDetails": "d"}' in invoke_complete("E", "d", None)


USAGE = Usage(duration_ms=12.341, init_ms=None, memory_mb=512, peak_mb=80)


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (None, "Max Memory Used: 80 MB"),
        (Reported("ValueError", "no"), "Max Memory Used: 80 MB"),
        (TimedOut(3), "Status: timeout"),
        (RuntimeExited(1), "Status: error\tError Type: Runtime.ExitError"),
        (OutOfMemory(), "Status: error\tError Type: Runtime.OutOfMemory"),
    ],
)
def test_report_lines(error: None, end: str) -> None:
    written = io.StringIO()
    Log(written).report("id", USAGE, error)
    ended, report = written.getvalue().splitlines()
    assert ended == "END RequestId: id"
    assert report.startswith("REPORT RequestId: id\tDuration: 12.34 ms\tBilled Duration: 13 ms\tMemory Size: 512 MB\t")
    assert report.endswith(end)


def test_the_init_phase_is_billed() -> None:
    assert Usage(10.2, 100.1, 512, 80).billed_ms == 111


def test_the_tail_is_limited_and_taken_once() -> None:
    log = Log(io.StringIO())
    for number in range(2000):
        log.line(f"line {number}")
    tail = log.take_tail()
    assert len(tail) == LOG_TAIL_BYTES
    assert tail.endswith(b"line 1999\n")
    assert log.take_tail() == b""


def event_of(content_type: str | None, body: bytes) -> dict[str, object]:
    headers = [("host", "h.example:99")] + ([("content-type", content_type)] if content_type else [])
    event = make_event(HttpRequest("POST", "/", "", headers, body), Settings(), "id", "Root=1-2")
    value: dict[str, object] = json.loads(event)
    return value


@pytest.mark.parametrize("kind", ["application/json", "text/plain; charset=utf-8", "application/problem+json"])
def test_texts_are_not_encoded(kind: str) -> None:
    event = event_of(kind, "ä".encode())
    assert (event["body"], event["isBase64Encoded"]) == ("ä", False)


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/x-www-form-urlencoded", None])
def test_anything_else_is(kind: str | None) -> None:
    event = event_of(kind, b"a=b")
    assert (event["body"], event["isBase64Encoded"]) == (base64.b64encode(b"a=b").decode(), True)


def test_text_that_is_not_utf8_is_encoded() -> None:
    assert event_of("text/plain", b"\xff")["isBase64Encoded"] is True


def test_the_caller_is_named_with_iam() -> None:
    headers = [("host", "h"), ("authorization", "AWS4-HMAC-SHA256 …")]
    event = json.loads(make_event(HttpRequest("GET", "/", "", headers, b""), Settings(url_auth="AWS_IAM"), "i", "t"))
    assert event["requestContext"]["authorizer"]["iam"]["accessKey"] == "test"
    assert "authorization" not in event["headers"]


def test_no_query_no_cookies_no_body() -> None:
    assert not {"queryStringParameters", "cookies", "body"} & set(event_of(None, b""))


def test_what_is_no_json_goes_out_as_it_is() -> None:
    assert read_buffered(b"\0\0") == (Head(200, (("content-type", "application/json"),)), b"\0\0")
