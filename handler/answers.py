"""POST → an answer: read, prepare, queue, generate, stream or fold; the client that leaves ends it all."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from handler.chunks import DONE, Chunk, Envelope, Shape, chunks, event, fold, json_bytes
from handler.completion import Meter, text_deltas
from handler.errors import ApiError, BodyTooLarge, ClientGone, GenerationFailed
from handler.gate import RECORD, report_failure
from handler.logs import Log, Record
from handler.model import Model
from handler.protocol import Request, Served
from handler.scheduler import Cancellable, Scheduler, Ticket

STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


@dataclass(frozen=True)
class Job:
    """A request that is ready for the engine."""

    request: Request
    prompt_ids: Sequence[int]
    max_tokens: int
    envelope: Envelope
    meter: Meter


class Answers:
    """An ASGI endpoint for one of the two POST paths.

    Args:
        model: What answers.
        scheduler: Where generations wait for each other.
        parse: The endpoint's request.
        shape: The endpoint's chunks.
        text_thread: Where bodies are parsed and encoded, so that a long one doesn't hold up the event loop.
        log: For failures in mid-stream.
        max_body: Bytes.
    """

    def __init__(
        self,
        model: Model,
        scheduler: Scheduler[Chunk],
        parse: Callable[[bytes, Served], Request],
        shape: Shape,
        text_thread: ThreadPoolExecutor,
        log: Log,
        max_body: int,
    ) -> None:
        self._model = model
        self._scheduler = scheduler
        self._parse = parse
        self._shape = shape
        self._text_thread = text_thread
        self._log = log
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record: Record = scope[RECORD]
        self._scheduler.check_room()
        body = await read_body(scope, receive, self._max_body)
        loop = asyncio.get_running_loop()
        job = await loop.run_in_executor(self._text_thread, self._prepare, body, record)
        cancellation = self._model.new_cancellation()
        ticket = Ticket(lambda: self._work(job, cancellation), cancellation)
        self._scheduler.submit(ticket)
        try:
            async with (
                self._cancelled_with_client(ticket, receive),
                aclosing(self._noted(ticket, record)) as items,
            ):
                respond = self._stream if job.request.options.stream else self._whole
                await respond(items, record, scope, receive, send)
        finally:
            self._scheduler.cancel(ticket, ClientGone())
            record.timings = job.meter.timings()

    def _prepare(self, body: bytes, record: Record) -> Job:
        request = self._parse(body, self._model.served)
        record.stream = request.options.stream
        if self._log.texts:
            record.prompt = getattr(request, "messages", None) or getattr(request, "prompt", None)
        prompt_ids, max_tokens = self._model.prompts.encode(request)
        envelope = Envelope(
            self._shape.id_prefix + record.id,
            int(time.time()),
            request.options.model,
            self._model.fingerprint,
        )
        return Job(request, prompt_ids, max_tokens, envelope, Meter(len(prompt_ids), record.received_at))

    def _work(self, job: Job, cancellation: Cancellable) -> Generator[Chunk, None, None]:
        options = job.request.options
        job.meter.start()
        tokens = self._model.generate(
            job.prompt_ids, options.sampling, job.max_tokens, self._model.stop_ids, cancellation
        )
        deltas = text_deltas(job.meter.count(tokens), self._model.vocabulary, options.stop, job.max_tokens)
        # The answer that isn't streamed takes its usage from the last chunk.
        include_usage = options.include_usage or not options.stream
        return chunks(self._shape, job.envelope, deltas, job.meter, include_usage)

    @asynccontextmanager
    async def _cancelled_with_client(self, ticket: Ticket[Chunk], receive: Receive) -> AsyncIterator[None]:
        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            self._scheduler.cancel(ticket, ClientGone())

        watcher = asyncio.create_task(watch())
        try:
            yield
        finally:
            watcher.cancel()

    async def _noted(self, ticket: Ticket[Chunk], record: Record) -> AsyncGenerator[Chunk, None]:
        async for chunk in ticket.items():
            for choice in chunk["choices"]:
                record.finish_reason = choice["finish_reason"]
                if self._log.texts:
                    record.answer += choice["text"] if "text" in choice else choice["delta"].get("content", "")
            yield chunk

    async def _whole(
        self, items: AsyncIterator[Chunk], record: Record, scope: Scope, receive: Receive, send: Send
    ) -> None:
        whole = fold(self._shape, [chunk async for chunk in items])
        await Response(json_bytes(whole), media_type="application/json")(scope, receive, send)

    async def _stream(
        self, items: AsyncIterator[Chunk], record: Record, scope: Scope, receive: Receive, send: Send
    ) -> None:
        first = await anext(items)  # What fails before there is a token still gets a status of its own.
        head = Response(headers=STREAM_HEADERS, media_type="text/event-stream")
        del head.headers["content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": head.raw_headers})
        await _send_part(send, event(first))
        try:
            async for chunk in items:
                await _send_part(send, event(chunk))
            await _send_part(send, DONE)
        except Exception as error:
            await _send_part(send, event(self._failure(error, record).body()))
        await _send_part(send, b"", more=False)

    def _failure(self, error: Exception, record: Record) -> ApiError:
        if not isinstance(error, ApiError):
            report_failure(self._log, record, error)
            error = GenerationFailed()
        record.error = error.code
        return error


async def _send_part(send: Send, body: bytes, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})
    # Neither uvicorn's send nor a queue with items gives way: without this, a fast engine would starve other clients.
    await asyncio.sleep(0)


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Read a request's body, holding no more than `limit` bytes.

    Raises:
        BodyTooLarge: It has, or claims to have, more.
        ClientGone: It never came to its end.
    """
    claimed = Headers(scope=scope).get("content-length", "")
    if claimed.isdigit() and int(claimed) > limit:
        raise BodyTooLarge(limit)
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone()
        body += message.get("body", b"")
        if len(body) > limit:
            raise BodyTooLarge(limit)
        more = message.get("more_body", False)
    return bytes(body)
