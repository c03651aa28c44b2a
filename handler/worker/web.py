"""An HTTP event → the answer that the server would give, as a whole: its application, without a socket."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.types import ASGIApp, Message, Scope

from handler.api.events import json_bytes
from handler.deadline import Deadline
from handler.errors import ResponseTooLarge
from handler.http.app import create_app
from handler.invocation import LAMBDA_CONTEXT, REQUEST_CONTEXT
from handler.logs import Log
from handler.metrics import Metrics
from handler.model import Model
from handler.scheduler import Scheduler
from handler.settings import Settings
from handler.start.key_loading import KeyLoading
from handler.text.deltas import Delta
from handler.worker.events import HttpEvent

LARGEST_RESPONSE = 6 * 2**20  # bytes that Lambda takes as the answer of an invocation, once it is JSON
ADAPTERS = {LAMBDA_CONTEXT.decode(), REQUEST_CONTEXT.decode()}


class Web:
    """Answers HTTP events, one at a time.

    Args:
        app: The server's application, which trusts the Web Adapter's headers.
        scheduler: What it works on.
    """

    def __init__(self, app: ASGIApp, scheduler: Scheduler[Delta]) -> None:
        self._app = app
        self._scheduler = scheduler
        # One for all events: what a read of a secret began goes on with the next one, as the process does.
        self._runner = asyncio.Runner()

    def close(self) -> None:
        """Take no more events."""
        self._runner.close()

    def answer(self, event: HttpEvent, request_id: str, deadline: Deadline) -> dict[str, Any]:
        """Return the response in payload format 2.0; an error is its status, as over a socket.

        Args:
            event: The request.
            request_id: Lambda's.
            deadline: When the answer must be at its end.
        """
        return self._runner.run(self._answer(event, request_id, deadline))

    async def _answer(self, event: HttpEvent, request_id: str, deadline: Deadline) -> dict[str, Any]:
        parts = [event.body]
        sent: list[Message] = []

        async def receive() -> Message:
            if parts:
                return {"type": "http.request", "body": parts.pop(), "more_body": False}
            return await asyncio.Future()  # Nobody can leave: the caller waits for Lambda, not for us.

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(_scope(event, request_id, deadline), receive, send)
        await self._scheduler.idle()  # The next event may have steps of its own.
        response = _response(sent[0], b"".join(message.get("body", b"") for message in sent[1:]))
        if len(json.dumps(response)) > LARGEST_RESPONSE:
            error = ResponseTooLarge(LARGEST_RESPONSE)
            response |= {"statusCode": error.status, "body": json_bytes(error.body()).decode()}
            response["headers"] |= {"content-type": "application/json"}
            response["isBase64Encoded"] = False
        return response


def _scope(event: HttpEvent, request_id: str, deadline: Deadline) -> Scope:
    context = {
        "request_id": request_id,
        "deadline": int(deadline.at * 1e3),
        "xray_trace_id": os.environ.get("_X_AMZN_TRACE_ID"),  # Lambda's runtime client sets it for each event.
    }
    theirs = {name: value for name, value in event.headers.items() if name not in ADAPTERS}
    ours = {LAMBDA_CONTEXT: json.dumps(context).encode(), REQUEST_CONTEXT: json.dumps(event.context).encode()}
    headers = [*((name.encode(), value.encode(errors="replace")) for name, value in theirs.items()), *ours.items()]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": event.method,
        "scheme": "https",
        "path": event.path,
        "raw_path": event.path.encode(errors="replace"),
        "query_string": event.query.encode(errors="replace"),
        "root_path": "",
        "headers": headers,
        "client": None,
        "server": None,
    }


def _response(head: Message, body: bytes) -> dict[str, Any]:
    headers: dict[str, str] = {}
    for name, value in ((name.decode(), value.decode("latin-1")) for name, value in head["headers"]):
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    headers.pop("content-length", None)  # Lambda counts for itself.
    try:
        text, encoded = body.decode(), False
    except UnicodeDecodeError:
        text, encoded = b64encode(body).decode(), True
    return {"statusCode": head["status"], "headers": headers, "body": text, "isBase64Encoded": encoded}


def make_web(model: Model, settings: Settings, environ: Mapping[str, str], service: str) -> Web:
    """Make what answers HTTP events.

    Args:
        model: What answers.
        settings: The function's.
        environ: Where AWS's credentials are, if the API key is a secret.
        service: What the function is called in metrics.

    Raises:
        StartupError: The API key's secret can't be read.
    """
    log = Log(sys.stdout, settings.log_text)
    scheduler = Scheduler[Delta](settings.queue, model.slots, model.step)
    # The deadline that comes here has its margin already; nobody could see a heartbeat in what comes as a whole.
    settings = replace(
        settings,
        function_name=settings.function_name or service,
        deadline_margin_ms=0,
        heartbeat_s=0.0,
        max_response=min(settings.max_response, LARGEST_RESPONSE),
    )
    metrics = None if settings.metrics_disabled else Metrics(log, settings.metrics_namespace, service)
    key = KeyLoading(settings, environ)
    key.begin()
    return Web(create_app(model, scheduler, settings, log, key.result(), metrics), scheduler)
