"""An object's bytes → a text, and the records that are answered one by one."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from handler.errors import DocumentEmpty, DocumentTooLarge, DocumentUnreadable, DocumentUnsupported

Kind = Literal["text", "markdown", "json", "json_lines"]
TYPES: Mapping[str, Kind] = {
    "text/plain": "text",
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
    "application/json": "json",
    "text/json": "json",
    "application/jsonl": "json_lines",
    "application/jsonlines": "json_lines",
    "application/x-jsonlines": "json_lines",
    "application/ndjson": "json_lines",
    "application/x-ndjson": "json_lines",
}
SUFFIXES: Mapping[str, Kind] = {
    ".txt": "text",
    ".text": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".json": "json",
    ".jsonl": "json_lines",
    ".ndjson": "json_lines",
}
UNTOLD = ("", "binary/octet-stream", "application/octet-stream")  # what S3 and its clients write if nobody says
GZIP = 31  # zlib's number for gzip alone


@dataclass(frozen=True)
class Found:
    """An object as S3 gave it.

    Attributes:
        body: Its bytes.
        content_type: As its owner named it.
        content_encoding: The same.
        metadata: Of its owner; small names.
    """

    body: bytes
    content_type: str
    content_encoding: str
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class Record:
    """What is answered by itself: a whole document, or a line of JSON lines.

    Attributes:
        begin: Where it begins in the text, in characters.
        end: Where it ends.
        line: Which line of the document it is, from 1 on; None for the whole.
    """

    begin: int
    end: int
    line: int | None = None


@dataclass(frozen=True)
class Document:
    """A text and its records, of which there is at least one."""

    kind: Kind
    text: str
    records: tuple[Record, ...]


def read_document(found: Found, key: str, limit: int) -> Document:
    """Read a document.

    Args:
        found: The object.
        key: Its name, whose end tells what it is where its type doesn't.
        limit: Bytes that it may have, uncompressed.

    Raises:
        DocumentUnsupported: It is something else than text, Markdown, JSON or JSON lines.
        DocumentTooLarge: It has more bytes.
        DocumentUnreadable: It isn't what it says it is.
        DocumentEmpty: There is nothing in it.
    """
    kind = _kind(found.content_type, key)
    text = _text(_plain(found, limit))
    if not text.strip():
        raise DocumentEmpty()
    if kind == "json":
        _check_json(text, "the document")
    records = tuple(_lines(text)) if kind == "json_lines" else (Record(0, len(text)),)
    return Document(kind, text, records)


def _kind(content_type: str, key: str) -> Kind:
    name, *parameters = (part.strip().lower() for part in content_type.split(";"))
    for parameter in parameters:
        if parameter.startswith("charset=") and parameter[8:].strip('"') not in ("utf-8", "utf8", "us-ascii"):
            raise DocumentUnsupported(f"its Content-Type is {content_type}, and only UTF-8 is read")
    if name in TYPES:
        return TYPES[name]
    if name not in UNTOLD:
        raise DocumentUnsupported(f"its Content-Type is {name}")
    file = key.rsplit("/", 1)[-1].lower().removesuffix(".gz")
    suffix = f".{file.rsplit('.', 1)[-1]}" if "." in file else ""
    if suffix not in SUFFIXES:
        raise DocumentUnsupported(f"it has no Content-Type, and its name ends with {suffix or 'no suffix'}")
    return SUFFIXES[suffix]


def _plain(found: Found, limit: int) -> bytes:
    encodings = [part.strip().lower() for part in found.content_encoding.split(",")]
    # Some clients let S3 keep how they transferred it.
    encodings = [name for name in encodings if name not in ("", "identity", "aws-chunked")]
    if len(found.body) > limit:
        raise DocumentTooLarge(limit)
    if not encodings:
        return found.body
    if encodings not in (["gzip"], ["x-gzip"]):
        raise DocumentUnsupported(f"its Content-Encoding is {found.content_encoding}, and only gzip is undone")
    inflater = zlib.decompressobj(GZIP)
    try:
        body = inflater.decompress(found.body, limit + 1)  # One byte more than it may have tells a bomb.
    except zlib.error:
        raise DocumentUnreadable("it is no gzip stream, as its Content-Encoding says") from None
    if len(body) > limit:
        raise DocumentTooLarge(limit)
    if not inflater.eof or inflater.unused_data:
        raise DocumentUnreadable("it is not one whole gzip stream, as its Content-Encoding says")
    return body


def _text(body: bytes) -> str:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentUnreadable(f"it is no UTF-8 text at byte {error.start}") from None
    if "\0" in text:
        raise DocumentUnreadable("it holds a null character, which no text has")
    return text


def _lines(text: str) -> Iterator[Record]:
    begin = 0
    for number, line in enumerate(text.split("\n"), 1):  # splitlines() would cut at characters that JSON may hold.
        if line.strip():
            _check_json(line, f"line {number}")
            stripped = begin + len(line) - len(line.lstrip())
            yield Record(stripped, stripped + len(line.strip()), number)
        begin += len(line) + 1


def _check_json(text: str, what: str) -> None:
    try:
        json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise DocumentUnreadable(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise DocumentUnreadable(f"{what} is no JSON: {str(error)[:200]}") from None


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
