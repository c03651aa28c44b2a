"""What Lambda hands the function → an event with a type."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from handler.errors import UnknownEvent, shown
from handler.worker.jobs import ENDPOINTS
from handler.worker.sources import source_of

SQS = "aws:sqs"


@dataclass(frozen=True)
class Invoke:
    """A request, as the caller wrote it."""

    values: Mapping[str, Any]


@dataclass(frozen=True)
class Batch:
    """SQS messages.

    Attributes:
        records: As Lambda writes them; each has a message id and a body.
        fifo: Whether their order counts.
    """

    records: Sequence[dict[str, Any]]
    fifo: bool


@dataclass(frozen=True)
class HttpEvent:
    """A request over HTTP, in payload format 2.0: a function URL's, or an HTTP API's of API Gateway.

    Attributes:
        method: As `POST`.
        path: Without a stage, and unquoted.
        query: As the client wrote it.
        headers: Small names; of several with one name, the values are joined.
        body: Its bytes.
        context: `requestContext`, which says who calls.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    context: Mapping[str, Any]


def read_event(event: object) -> Invoke | Batch | HttpEvent:
    """Tell what an event is.

    Raises:
        UnknownEvent: It is nothing that this function takes.
    """
    if not isinstance(event, dict):
        raise UnknownEvent(source_of(event))
    if any(name in event for name in ENDPOINTS):
        return Invoke(event)
    context = event.get("requestContext")
    if isinstance(context, dict) and isinstance(context.get("http"), dict):
        return _read_http(event, context)
    records = event.get("Records")
    if not isinstance(records, list) or not records or _is_of_another_service(records[0]):
        raise UnknownEvent(source_of(event))
    for index, record in enumerate(records):
        _check_record(record, f"Records[{index}]")
    return Batch(records, str(records[0].get("eventSourceARN")).endswith(".fifo"))


def _is_of_another_service(record: object) -> bool:
    source = (record.get("EventSource") or record.get("eventSource")) if isinstance(record, dict) else None
    return isinstance(source, str) and source != SQS


def _read_http(event: Mapping[str, Any], context: Mapping[str, Any]) -> HttpEvent:
    # https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html: request payload format
    method = _text(context["http"].get("method"), "requestContext.http.method")
    path, body = _text(event.get("rawPath"), "rawPath"), _text(event.get("body") or "", "body")
    headers = event.get("headers")
    stage = context.get("stage")
    if isinstance(stage, str) and stage != "$default":
        path = path.removeprefix(f"/{stage}")
    content = body.encode(errors="surrogatepass")
    if event.get("isBase64Encoded"):
        try:
            content = b64decode(body, validate=True)
        except ValueError:
            raise UnknownEvent("the event's body is no base64") from None
    texts = {str(name).lower(): str(value) for name, value in headers.items()} if isinstance(headers, dict) else {}
    query = _text(event.get("rawQueryString") or "", "rawQueryString")
    return HttpEvent(method, unquote(path) or "/", query, texts, content, context)


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise UnknownEvent(f"the event's {path} is {shown(value)}")
    return value


def _check_record(record: object, path: str) -> None:
    if not isinstance(record, dict):
        raise UnknownEvent(f"{path} is {shown(record)}")
    if record.get("eventSource") != SQS:
        raise UnknownEvent(f"{path}.eventSource is {shown(record.get('eventSource'))}")
    for name in ("messageId", "body"):
        if not isinstance(record.get(name), str):
            raise UnknownEvent(f"{path}.{name} is {shown(record.get(name))}")
    for name in ("attributes", "messageAttributes"):
        if not isinstance(record.get(name, {}), dict):
            raise UnknownEvent(f"{path}.{name} is {shown(record.get(name))}")
