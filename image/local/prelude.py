"""The head of a streamed HTTP response: JSON, eight NUL bytes, then the body.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from image.local.limits import RESPONSE_BYTES

HTTP_INTEGRATION = "application/vnd.awslambda.http-integration-response"
SEPARATOR = b"\0" * 8
# The front end speaks for itself about these.
HOP_BY_HOP = frozenset({"connection", "content-length", "date", "keep-alive", "transfer-encoding"})


class PreludeInvalid(Exception):
    """The stream doesn't begin as it says."""


@dataclass(frozen=True)
class Head:
    """Status and headers of an HTTP response."""

    status: int
    headers: tuple[tuple[str, str], ...]


async def split_prelude(chunks: AsyncIterator[bytes]) -> tuple[Head, bytes]:
    """Read up to the separator; return the head, and what of the body came with it.

    Raises:
        PreludeInvalid: There is no separator, or no JSON before it.
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
    raise PreludeInvalid("no eight NUL bytes after the prelude")


def parse_head(prelude: bytes) -> Head:
    """Read statusCode, headers and cookies.

    Raises:
        PreludeInvalid: They aren't what they should be.
    """
    try:
        value = json.loads(prelude)
        status = int(value.get("statusCode", 200))
        return Head(status, head_headers(value))
    except (ValueError, TypeError, AttributeError) as error:
        raise PreludeInvalid(f"the prelude is not what it should be: {error}") from error


def head_headers(value: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the headers of a response, cookies among them, one pair for each value."""
    pairs = []
    for name, given in (value.get("headers") or {}).items():
        if name.lower() not in HOP_BY_HOP:
            pairs += [(name, str(one)) for one in (given if isinstance(given, list) else [given])]
    return (*pairs, *(("set-cookie", str(cookie)) for cookie in value.get("cookies") or ()))
