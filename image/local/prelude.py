"""The head of a streamed HTTP response: JSON, eight NUL bytes, then the body.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from image.local.limits import RESPONSE_BYTES

HTTP_INTEGRATION = "application/vnd.awslambda.http-integration-response"
SEPARATOR = b"\0" * 8
# The front end speaks for itself about these.
NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
VALUE = re.compile(r"([\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
HOP_BY_HOP = frozenset({"connection", "content-length", "date", "keep-alive", "transfer-encoding"})


class HeadInvalid(ValueError):
    """A response has no status and headers that HTTP could have."""


@dataclass(frozen=True)
class Head:
    """Status and headers of an HTTP response."""

    status: int
    headers: tuple[tuple[str, str], ...]


async def split_prelude(chunks: AsyncIterator[bytes]) -> tuple[Head, bytes]:
    """Read up to the separator; return the head, and what of the body came with it.

    Raises:
        HeadInvalid: There is no separator, or no JSON before it.
    """
    read = bytearray()
    async for chunk in chunks:
        searched_from = max(0, len(read) - len(SEPARATOR))
        read += chunk
        end = read.find(SEPARATOR, searched_from)
        if end >= 0:
            return parse_head(bytes(read[:end])), bytes(read[end + len(SEPARATOR) :])
        if len(read) > RESPONSE_BYTES:
            break
    raise HeadInvalid("no eight NUL bytes after the prelude")


def parse_head(prelude: bytes) -> Head:
    """Read statusCode, headers and cookies from JSON.

    Raises:
        HeadInvalid: They aren't what they should be.
    """
    try:
        value = json.loads(prelude)
    except ValueError as error:
        raise HeadInvalid(f"the prelude is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise HeadInvalid("the prelude is not an object")
    return make_head(value)


def make_head(value: dict[str, Any]) -> Head:
    """Check statusCode, headers and cookies; one pair for each value of a header.

    Raises:
        HeadInvalid: HTTP can't have them.
    """
    status, headers, cookies = value.get("statusCode", 200), value.get("headers") or {}, value.get("cookies") or []
    if not (str(status).isascii() and str(status).isdigit() and 200 <= int(status) <= 599):
        raise HeadInvalid(f"statusCode {status!r} is not one of HTTP")
    if not isinstance(headers, dict) or not isinstance(cookies, list):
        raise HeadInvalid("headers must be an object, cookies an array")
    pairs = [
        (name, str(one))
        for name, given in headers.items()
        if name.lower() not in HOP_BY_HOP
        for one in (given if isinstance(given, list) else [given])
    ]
    pairs += [("set-cookie", str(cookie)) for cookie in cookies]
    for name, text in pairs:
        if not (NAME.fullmatch(name) and VALUE.fullmatch(text)):
            raise HeadInvalid(f"{name!r}: {text!r} is not a header of HTTP")
    return Head(int(status), tuple(pairs))
