"""POST → an answer: read, prepare, queue, generate, stream or join; the client that leaves ends it all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from handler.api.endpoint import Answer, Endpoint
from handler.api.events import json_bytes
from handler.api.members import parse_object
from handler.deadline import Deadline
from handler.errors import (
    ApiError,
    ClientGone,
    ClientIdle,
    DeadlineExceeded,
    GenerationFailed,
    ResponseTooLarge,
)
from handler.generation import Generation, generate, prepare
from handler.http.body import read_body
from handler.http.gate import RECORD
from handler.http.limits import Limits
from handler.http.stream import EventStream
from handler.logs import Log, Record
from handler.model import Model
from handler.scheduler import Scheduler, Ticket
from handler.text.deltas import Delta, joined


class Answers:
    """The ASGI application of one endpoint.

    Args:
        model: What answers.
        scheduler: Where generations wait for each other.
        endpoint: Reads the requests and writes the answers.
        text_thread: Where bodies are parsed and encoded, and whole answers written, so that a long one doesn't hold up
            the event loop.
        log: For failures in mid-stream.
        limits: Of each request.
    """

    def __init__(
        self,
        model: Model,
        scheduler: Scheduler[Delta],
        endpoint: Endpoint,
        text_thread: ThreadPoolExecutor,
        log: Log,
        limits: Limits,
    ) -> None:
        self._model = model
        self._scheduler = scheduler
        self._endpoint = endpoint
        self._text_thread = text_thread
        self._log = log
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record: Record = scope[RECORD]
        with self._model.bill.invocation(record.received_at):
            await self._answer(record, scope, receive, send)

    async def _answer(self, record: Record, scope: Scope, receive: Receive, send: Send) -> None:
        deadline = record.invocation.deadline
        if deadline is not None and deadline.passed:
            raise DeadlineExceeded()
        self._scheduler.check_room()
        body = await read_body(scope, receive, self._limits)
        loop = asyncio.get_running_loop()
        generation = await loop.run_in_executor(self._text_thread, self._prepare, body, record)
        cancellation = self._model.new_cancellation()
        ticket: Ticket[Delta] = Ticket(
            lambda: generate(self._model, generation, cancellation, lambda: ticket.slots),
            cancellation,
            wants=generation.side_by_side,
        )
        self._scheduler.submit(ticket)
        try:
            async with (
                self._withdrawn(ticket, deadline),
                self._cancelled_with_client(ticket, receive),
                aclosing(self._noted(ticket, record)) as deltas,
            ):
                respond = self._stream if generation.request.options.stream else self._whole
                await respond(generation.answer, deltas, record, scope, receive, send)
        finally:
            self._scheduler.cancel(ticket, ClientGone())
            generation.meter.end()
            record.timings = generation.meter.timings()

    def _prepare(self, body: bytes, record: Record) -> Generation:
        request = self._endpoint.parse(parse_object(body), self._model.served)
        record.stream = request.options.stream
        if self._log.texts:
            record.prompt = request.logged
        return prepare(self._model, request, record.id, record.received_at, record.invocation.deadline)

    @asynccontextmanager
    async def _withdrawn(self, ticket: Ticket[Delta], deadline: Deadline | None) -> AsyncIterator[None]:
        if deadline is None:
            yield
            return
        loop = asyncio.get_running_loop()
        # Only from the queue: what runs ends by itself, with what it has.
        timer = loop.call_later(deadline.left_s(), self._scheduler.withdraw, ticket, DeadlineExceeded())
        try:
            yield
        finally:
            timer.cancel()

    @asynccontextmanager
    async def _cancelled_with_client(self, ticket: Ticket[Delta], receive: Receive) -> AsyncIterator[None]:
        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            self._scheduler.cancel(ticket, ClientGone())

        watcher = asyncio.create_task(watch())
        try:
            yield
        finally:
            watcher.cancel()

    async def _noted(self, ticket: Ticket[Delta], record: Record) -> AsyncGenerator[Delta, None]:
        async for delta in ticket.items():
            if delta.finish_reason:
                record.finish_reason = delta.finish_reason
                self._scheduler.want(ticket, ticket.wants - 1)
            if self._log.texts:
                record.answers[delta.index] = record.answers.get(delta.index, "") + delta.text
            yield delta

    async def _whole(
        self, answer: Answer, deltas: AsyncIterator[Delta], record: Record, scope: Scope, receive: Receive, send: Send
    ) -> None:
        made = [delta async for delta in deltas]
        loop = asyncio.get_running_loop()
        whole = await loop.run_in_executor(self._text_thread, _written, answer, made)  # Vectors are long.
        if len(whole) > self._limits.response:
            raise ResponseTooLarge(self._limits.response)
        await Response(whole, media_type="application/json")(scope, receive, send)

    async def _stream(
        self, answer: Answer, deltas: AsyncIterator[Delta], record: Record, scope: Scope, receive: Receive, send: Send
    ) -> None:
        stream = EventStream(send, self._limits)
        async with stream.kept_alive():
            try:
                async for part in _events(answer, deltas):
                    await stream.part(part)
            except ClientIdle:
                raise  # An event wouldn't be taken either.
            except Exception as error:
                if not stream.begun:
                    raise  # What fails before anything was sent still gets a status of its own.
                await stream.write(self._endpoint.failure(self._failure(error, record), answer))
        await stream.end()

    def _failure(self, error: Exception, record: Record) -> ApiError:
        if not isinstance(error, ApiError):
            self._log.failure(error, request_id=record.id)
            error = GenerationFailed()
        record.error = error.code
        return error


def _written(answer: Answer, deltas: list[Delta]) -> bytes:
    return json_bytes(answer.whole(joined(deltas)))


async def _events(answer: Answer, deltas: AsyncIterator[Delta]) -> AsyncGenerator[bytes, None]:
    async for delta in deltas:
        for part in answer.events(delta):
            yield part
    for part in answer.end():
        yield part
