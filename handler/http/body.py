"""A request's body: no more of it than may come, no slower than it must, and uncompressed."""

from __future__ import annotations

import asyncio
import time
import zlib

from starlette.datastructures import Headers
from starlette.types import Receive, Scope

from handler.errors import BodyTooLarge, ClientGone, ClientIdle, EncodingBroken, EncodingUnsupported
from handler.http.limits import Limits

PLAIN, COMPRESSED = ("", "identity"), ("gzip", "x-gzip", "deflate")
LEAST_RATE = 1024  # bytes a second, beside `idle_s` for the whole; else a byte a minute would do
LONGEST_CLAIM = 20  # digits; Python reads no integer of 5,000
ANY_HEADER = 47  # zlib's number for "gzip or zlib, whichever it is"


async def read_body(scope: Scope, receive: Receive, limits: Limits) -> bytes:
    """Read a request's body, holding no more than `limits.body` bytes.

    Raises:
        BodyTooLarge: It has, or claims to have, more, as it comes or uncompressed.
        EncodingUnsupported: It is compressed in another way than gzip or deflate.
        EncodingBroken: It isn't compressed as its header says.
        ClientGone: It never came to its end.
        ClientIdle: It comes too slowly.
    """
    headers = Headers(scope=scope)
    claimed = headers.get("content-length", "")
    if claimed.isdigit() and (len(claimed) > LONGEST_CLAIM or int(claimed) > limits.body):
        raise BodyTooLarge(limits.body)
    body = _Body(headers.get("content-encoding", "").strip().lower(), limits.body)
    begun_at = time.monotonic()
    more = True
    while more:
        left_s = begun_at + limits.idle_s + body.received / LEAST_RATE - time.monotonic()
        try:
            message = await asyncio.wait_for(receive(), max(0.0, min(left_s, limits.idle_s)))
        except TimeoutError:
            raise ClientIdle(limits.idle_s) from None
        if message["type"] == "http.disconnect":
            raise ClientGone()
        body.add(message.get("body", b""))
        more = message.get("more_body", False)
    return body.whole()


class _Body:
    """What has come of a body."""

    def __init__(self, encoding: str, limit: int) -> None:
        if encoding not in PLAIN + COMPRESSED:
            raise EncodingUnsupported(encoding)
        self.received = 0
        self._encoding = encoding
        self._limit = limit
        self._zlib = zlib.decompressobj(ANY_HEADER) if encoding in COMPRESSED else None
        self._content = bytearray()

    def add(self, part: bytes) -> None:
        """Take one more part in."""
        self.received += len(part)
        # One byte more than may come tells a bomb, which is never blown up further.
        self._content += part if self._zlib is None else self._inflated(part, self._limit - len(self._content) + 1)
        if max(self.received, len(self._content)) > self._limit:
            raise BodyTooLarge(self._limit)

    def whole(self) -> bytes:
        """Return all of it, once there is no more."""
        if self._zlib is not None and (not self._zlib.eof or self._zlib.unused_data):
            raise EncodingBroken(self._encoding)
        return bytes(self._content)

    def _inflated(self, part: bytes, most: int) -> bytes:
        assert self._zlib is not None
        try:
            return self._zlib.decompress(part, most)
        except zlib.error:
            raise EncodingBroken(self._encoding) from None
