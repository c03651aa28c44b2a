"""What both public endpoints do with ASGI: read a request whole, answer at once, answer in parts."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Receive, Scope, Send

from image.local.errors import ClientGone
from image.local.invocation import Call
from image.local.limits import REQUEST_BYTES
from image.local.refusals import RequestTooLarge, ServiceError
from image.local.url_event import HttpRequest

Pairs = Iterable[tuple[str, str]]
RETRY = {429: (("retry-after", "1"),)}


class Cut(Exception):
    """Ends a response in the middle: uvicorn then closes the connection, and the client sees that it isn't whole."""


async def read_request(scope: Scope, receive: Receive) -> HttpRequest:
    """Read a request, holding no more than an invoke may have.

    Raises:
        RequestTooLarge: It has more than 6 MB.
        ClientGone: It never came to its end.
    """
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone()
        body += message.get("body", b"")
        if len(body) > REQUEST_BYTES:
            raise RequestTooLarge()
        more = message.get("more_body", False)
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
    client = scope["client"][0] if scope.get("client") else "127.0.0.1"
    return HttpRequest(scope["method"], path, query, headers, bytes(body), client)


async def send_head(send: Send, status: int, headers: Pairs) -> None:
    """Begin an answer whose parts follow."""
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def send_part(send: Send, body: bytes, more: bool = True) -> None:
    """Send a part; it leaves at once."""
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def send_whole(send: Send, status: int, headers: Pairs, body: bytes) -> None:
    """Send an answer."""
    await send_head(send, status, [*headers, ("content-length", str(len(body)))])
    await send_part(send, body, more=False)


async def send_refusal(send: Send, error: ServiceError, request_id: str) -> None:
    """Send Lambda's own refusal."""
    headers = [
        ("content-type", "application/json"),
        ("x-amzn-errortype", error.type),
        ("x-amzn-requestid", request_id),
        *RETRY.get(error.status, ()),
    ]
    await send_whole(send, error.status, headers, error.body())


def identifying(call: Call) -> list[tuple[str, str]]:
    """Return the headers that name an invoke."""
    return [("x-amzn-requestid", call.request_id), ("x-amzn-trace-id", call.trace_id)]
