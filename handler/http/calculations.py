"""POST → a JSON object that needs no engine: read, compute in the text thread, send."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from handler.api.endpoint import Calculation
from handler.api.events import json_bytes
from handler.api.members import parse_object
from handler.errors import ResponseTooLarge
from handler.http.body import read_body
from handler.http.limits import Limits
from handler.model import Model


class Calculated:
    """The ASGI application of one calculation.

    Args:
        model: Whose tokenizer and template it uses.
        calculation: Makes the answers.
        text_thread: Where bodies are parsed and encoded, so that a long one doesn't hold up the event loop.
        limits: Of each request.
    """

    def __init__(self, model: Model, calculation: Calculation, text_thread: ThreadPoolExecutor, limits: Limits) -> None:
        self._model = model
        self._calculation = calculation
        self._text_thread = text_thread
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(scope, receive, self._limits)
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._text_thread, self._compute, body)
        if len(answer) > self._limits.response:
            raise ResponseTooLarge(self._limits.response)
        await Response(answer, media_type="application/json")(scope, receive, send)

    def _compute(self, body: bytes) -> bytes:
        return json_bytes(self._calculation.compute(parse_object(body), self._model.served, self._model.prompts))
