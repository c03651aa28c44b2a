"""HTTP request → the event of a function URL, payload format 2.0; and a buffered response back.

https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from image.local.limits import ACCOUNT
from image.local.prelude import Head, make_head
from image.local.settings import Settings

TEXT = re.compile(r"text/.*|application/(json|javascript|xml)|application/.*\+(json|xml)")
URL_ID = "local"


@dataclass(frozen=True)
class HttpRequest:
    """A whole request. `path` and `query` are as the client wrote them, headers by their small names."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    client: str = "127.0.0.1"

    def header(self, name: str) -> str | None:
        """Return a header's values, joined by commas."""
        values = [value for key, value in self.headers if key == name]
        return ",".join(values) if values else None


def make_event(request: HttpRequest, settings: Settings, request_id: str, trace_id: str) -> bytes:
    """Return the event as JSON.

    Args:
        request: What the client sent.
        settings: The function; with AWS_IAM the event names the caller.
        request_id: Of the invoke.
        trace_id: The X-Ray header.
    """
    domain = (request.header("host") or "localhost").rsplit(":", 1)[0]
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": _headers(request, settings, trace_id),
        "requestContext": _context(request, settings, request_id, domain),
        "isBase64Encoded": False,
    }
    if request.query:
        event["queryStringParameters"] = _query(request.query)
    if cookies := request.header("cookie"):
        event["cookies"] = [cookie.strip() for cookie in re.split("[;,]", cookies)]
    if request.body:
        event["body"], event["isBase64Encoded"] = _body(request)
    return json.dumps(event, ensure_ascii=False).encode()


def _headers(request: HttpRequest, settings: Settings, trace_id: str) -> dict[str, str]:
    # With AWS_IAM the URL keeps Authorization for itself; cookies have a member of their own.
    hidden = {"cookie", "connection", "transfer-encoding", *(["authorization"] if _iam(settings) else [])}
    names = dict.fromkeys(name for name, _ in request.headers if name not in hidden)
    return {
        **{name: request.header(name) or "" for name in names},
        "x-amzn-trace-id": trace_id,
        "x-forwarded-for": request.client,
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
    }


def _context(request: HttpRequest, settings: Settings, request_id: str, domain: str) -> dict[str, Any]:
    now = time.time()
    context: dict[str, Any] = {
        "accountId": ACCOUNT if _iam(settings) else "anonymous",
        "apiId": URL_ID,
        "domainName": domain,
        "domainPrefix": domain.split(".")[0],
        "http": {
            "method": request.method,
            "path": request.path,
            "protocol": "HTTP/1.1",
            "sourceIp": request.client,
            "userAgent": request.header("user-agent") or "",
        },
        "requestId": request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
        "timeEpoch": int(now * 1e3),
    }
    if _iam(settings):
        caller = {"accessKey": settings.access_key, "accountId": ACCOUNT, "callerId": "local", "userId": "local"}
        arn = f"arn:aws:iam::{ACCOUNT}:user/local"
        context["authorizer"] = {"iam": {**caller, "cognitoIdentity": None, "principalOrgId": None, "userArn": arn}}
    return context


def _iam(settings: Settings) -> bool:
    return settings.url_auth == "AWS_IAM"


def _query(query: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    return parameters


def _body(request: HttpRequest) -> tuple[str, bool]:
    kind = (request.header("content-type") or "").split(";")[0].strip().lower()
    if TEXT.fullmatch(kind):
        try:
            return request.body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(request.body).decode(), True


def read_buffered(payload: bytes) -> tuple[Head, bytes]:
    """Turn what a function returned into an HTTP response: by its statusCode, or all of it as JSON.

    Raises:
        ValueError: Status, headers or base64 aren't what they should be.
    """
    try:
        value = json.loads(payload)
    except ValueError:  # Not a response in any format: Lambda hands it on as it is.
        value = None
    if not (isinstance(value, dict) and "statusCode" in value):
        body = value.encode() if isinstance(value, str) else payload
        return Head(200, (("content-type", "application/json"),)), body
    text = value.get("body") or ""
    if not isinstance(text, str):
        text = json.dumps(text)
    body = base64.b64decode(text) if value.get("isBase64Encoded") else text.encode()
    head = make_head(value)
    if not any(name.lower() == "content-type" for name, _ in head.headers):
        head = Head(head.status, (("content-type", "application/json"), *head.headers))
    return head, body
