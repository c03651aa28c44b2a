from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.errors import ApiError, DocumentEmpty, DocumentTooLarge, DocumentUnreadable, DocumentUnsupported
from handler.worker.documents.reading import Document, Found, read_document

LIMIT = 1000


def read(body: bytes, key: str = "documents/a", content_type: str = "text/plain", encoding: str = "") -> Document:
    return read_document(Found(body, content_type, encoding, {}), key, LIMIT)


@pytest.mark.parametrize(
    ("content_type", "key", "kind"),
    [
        ("text/plain", "a.md", "text"),
        ("text/plain; charset=UTF-8", "a", "text"),
        ("Text/Markdown", "a", "markdown"),
        ("application/json", "a", "json"),
        ("application/x-ndjson", "a", "json_lines"),
        ("binary/octet-stream", "a.MD", "markdown"),
        ("application/octet-stream", "x/a.txt", "text"),
        ("", "a.b.json", "json"),
        ("", "a.jsonl.gz", "json_lines"),
    ],
)
def test_the_type_tells_what_it_is_else_the_suffix(content_type: str, key: str, kind: str) -> None:
    assert read(b"7", key, content_type).kind == kind


@pytest.mark.parametrize(
    ("content_type", "key"),
    [
        ("application/pdf", "a.txt"),
        ("image/png", "a"),
        ("text/html", "a"),
        ("text/plain; charset=latin-1", "a"),
        ("", "a.pdf"),
        ("binary/octet-stream", "documents.txt/a"),
    ],
)
def test_other_kinds_are_refused_by_name(content_type: str, key: str) -> None:
    with pytest.raises(DocumentUnsupported, match=r"charset|pdf|png|html|no suffix"):
        read(b"x", key, content_type)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"a\xc3", b"%PDF-1.7\n\xe2\xe3", b"a\0b"])
def test_what_is_no_text_is_refused(body: bytes) -> None:
    with pytest.raises(DocumentUnreadable):
        read(body)


@pytest.mark.parametrize("body", [b"", b" \n\t", b"\xef\xbb\xbf"])
def test_nothing_is_refused(body: bytes) -> None:
    with pytest.raises(DocumentEmpty):
        read(body)


def test_a_byte_order_mark_is_no_text() -> None:
    assert read(b"\xef\xbb\xbfhi").text == "hi"


def test_what_is_too_large_is_refused() -> None:
    assert len(read(b"x" * LIMIT).text) == LIMIT
    for body, encoding in ((b"x" * (LIMIT + 1), ""), (gzip.compress(b"x" * 10**6), "gzip")):
        with pytest.raises(DocumentTooLarge):
            read(body, encoding=encoding)


def test_gzip_is_undone() -> None:
    assert read(gzip.compress(b"hi"), encoding="gzip").text == "hi"
    assert read(gzip.compress(b"hi"), encoding="gzip,aws-chunked").text == "hi"
    assert read(b"hi", encoding="aws-chunked").text == "hi"


@pytest.mark.parametrize("body", [b"hi", gzip.compress(b"hi", mtime=0)[:-3], gzip.compress(b"hi", mtime=0) + b"x"])
def test_a_broken_gzip_stream_is_refused(body: bytes) -> None:
    with pytest.raises(DocumentUnreadable, match="gzip"):
        read(body, encoding="gzip")


def test_another_compression_is_refused() -> None:
    with pytest.raises(DocumentUnsupported, match="br"):
        read(b"hi", encoding="br")


def test_each_line_that_is_not_blank_is_a_record() -> None:
    document = read('{"a": 1}\r\n\n  [2] \n"\u2028"'.encode(), content_type="application/jsonl")
    told = [(document.text[record.begin : record.end], record.line) for record in document.records]
    assert told == [('{"a": 1}', 1), ("[2]", 3), ('"\u2028"', 4)]


@pytest.mark.parametrize("body", [b'{"a": 1}\n{', b"NaN", b"7\nhello", b"[" * 100_000])
@pytest.mark.parametrize("content_type", ["application/json", "application/jsonl"])
def test_json_that_is_none_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises((DocumentUnreadable, DocumentTooLarge)):
        read(body, content_type=content_type)


def test_the_line_that_is_no_json_is_named() -> None:
    with pytest.raises(DocumentUnreadable, match="line 2 is no JSON"):
        read(b"7\nhello", content_type="application/jsonl")


@given(st.lists(st.recursive(st.none() | st.text(), st.lists), min_size=1, max_size=5))
def test_lines_that_were_written_are_the_records(values: list[object]) -> None:
    text = "\n".join(json.dumps(value, ensure_ascii=False) for value in values)
    document = read_document(Found(text.encode(errors="replace"), "application/jsonl", "", {}), "a", 10**6)
    assert [json.loads(document.text[record.begin : record.end]) for record in document.records] == values


@given(st.binary(max_size=50), st.sampled_from(["text/plain", "application/json", "application/jsonl", ""]))
def test_any_bytes_are_read_or_refused(body: bytes, content_type: str) -> None:
    try:
        document = read(body, "a.txt", content_type)
    except ApiError as refusal:
        error: ApiError | None = refusal
    else:
        error = None
        assert document.records
    assert error is None or 400 <= error.status < 500
