"""One invoke: the payload on its way in, the response on its way out, chunk by chunk."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from image.local.errors import FunctionError, ResponseTooLarge, StreamTooLarge
from image.local.limits import RESPONSE_BYTES, STREAM_BYTES, STREAM_BYTES_PER_S, STREAM_UNCAPPED_BYTES
from image.local.qualifiers import Target

WAITING_BYTES = 256 * 1024  # that nobody has taken yet: then the function waits
OCTET_STREAM = "application/octet-stream"


def new_trace_id() -> str:
    """Return an X-Ray header that asks for no sample."""
    return f"Root=1-{int(time.time()):08x}-{os.urandom(12).hex()};Parent={os.urandom(8).hex()};Sampled=0"


@dataclass(frozen=True)
class Call:
    """What is to be invoked with.

    Attributes:
        payload: JSON.
        streaming: Whether the caller takes the response as a stream; else it is limited to 6 MB.
        trace_id: The caller's X-Ray header.
        client_context: JSON, from `X-Amz-Client-Context`.
        target: Which version, by which name.
    """

    payload: bytes
    streaming: bool = False
    trace_id: str = field(default_factory=new_trace_id)
    client_context: str | None = None
    target: Target = field(default_factory=Target)
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))


class Pace:
    """How fast a stream may be: the first 6 MB at once, then 2 MB/s."""

    def __init__(self) -> None:
        self._sent = 0
        self._started_at = 0.0

    def delay_s(self, size: int, now: float) -> float:
        """Count `size` bytes; return for how many seconds to wait before they are sent."""
        before, self._sent = self._sent, self._sent + size
        slowed = self._sent - STREAM_UNCAPPED_BYTES
        if slowed <= 0:
            return 0.0
        if before <= STREAM_UNCAPPED_BYTES:
            self._started_at = now
        return max(0.0, self._started_at + slowed / STREAM_BYTES_PER_S - now)


class Invocation:
    """A call and its response. The Runtime API writes, one caller reads; either may end first.

    Attributes:
        content_type: Of the response, once it has begun.
        streamed: Whether the runtime streams it.
        error: Why the invoke failed; set before the response ends.
        log_tail: The last 4 KB that the function logged, once the invoke is finished.
    """

    def __init__(self, call: Call) -> None:
        self.call = call
        self.content_type = OCTET_STREAM
        self.streamed = False
        self.error: FunctionError | None = None
        self.log_tail = b""
        self.deadline_ms = 0
        self.done = asyncio.Event()  # the response is complete or has failed
        self.finished = asyncio.Event()  # the environment has written its last log line
        self._begun = asyncio.Event()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._size = 0
        self._abandoned = False
        self._pace = Pace()

    # ---------------------------------------------------------------- the Runtime API's side

    @property
    def begun(self) -> bool:
        """Whether the response has begun or ended."""
        return self._begun.is_set()

    @property
    def ended(self) -> bool:
        """Whether the response is complete or has failed."""
        return self.done.is_set()

    def begin(self, content_type: str, streamed: bool) -> None:
        """Say what comes."""
        self.content_type = content_type
        self.streamed = streamed
        self._begun.set()

    async def feed(self, chunk: bytes) -> None:
        """Hand on a chunk, no faster than Lambda and the caller take it.

        Raises:
            FunctionError: The response got too large, or has already failed.
        """
        if self.ended:
            raise self.error or ResponseTooLarge(self._size)
        self._size += len(chunk)
        self._check_size()
        if self.call.streaming:
            delay_s = self._pace.delay_s(len(chunk), time.monotonic())
            if delay_s > 0:
                await asyncio.sleep(delay_s)
        if not self._abandoned:
            self._waiting.append(chunk)
            self._waiting_bytes += len(chunk)
            self._news.set()
        while self.call.streaming and self._waiting_bytes > WAITING_BYTES and not (self._abandoned or self.ended):
            self._room.clear()
            await self._room.wait()

    def _check_size(self) -> None:
        if self.call.streaming:
            if self._size > STREAM_BYTES:
                self.fail(StreamTooLarge())
                raise StreamTooLarge()
        elif self._size > RESPONSE_BYTES:
            self._waiting.clear()
            self.fail(ResponseTooLarge(self._size))
            raise ResponseTooLarge(self._size)

    def end(self) -> None:
        """The response is complete."""
        self.done.set()
        self._begun.set()
        self._news.set()
        self._room.set()

    def fail(self, error: FunctionError) -> None:
        """The invoke failed; what was fed before still reaches the caller."""
        if not self.ended:
            self.error = error
            self.end()

    # ---------------------------------------------------------------- the caller's side

    async def response_begun(self) -> None:
        """Wait until `content_type` and `streamed` are known, or the invoke has failed."""
        await self._begun.wait()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the response as it arrives; `error` is known afterwards."""
        while not self.drained:
            if not self._waiting:
                self._news.clear()
                await self._news.wait()
                continue
            chunk = self._waiting.popleft()
            self._waiting_bytes -= len(chunk)
            self._room.set()
            yield chunk

    @property
    def drained(self) -> bool:
        """Whether nothing of the response is left to come."""
        return self.ended and not self._waiting

    async def whole(self) -> bytes:
        """Return the whole response, or the error's JSON."""
        body = b"".join([chunk async for chunk in self.chunks()])
        return self.error.payload(self.call.request_id) if self.error else body

    def abandon(self) -> None:
        """Nobody reads any more; Lambda lets the function go on."""
        self._abandoned = True
        self._waiting.clear()
        self._waiting_bytes = 0
        self._room.set()
