"""A runtime client that streams, on plain sockets: what its event says, or the body of its event."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

PREFIX = "/2018-06-01/runtime/invocation/"
INTEGRATION = "application/vnd.awslambda.http-integration-response"


def ended(number: int, frame: object) -> None:
    """Say that SIGTERM came."""
    print("runtime got SIGTERM", flush=True)
    sys.exit()


def main() -> None:
    """Take invocations for ever."""
    signal.signal(signal.SIGTERM, ended)
    address = os.environ["AWS_LAMBDA_RUNTIME_API"]
    connection = HTTPConnection(address)
    while True:
        connection.request("GET", PREFIX + "next")
        response = connection.getresponse()
        event = json.loads(response.read())
        request_id = response.headers["Lambda-Runtime-Aws-Request-Id"]
        if "body" in event:
            body = event["body"]
            event = json.loads(base64.b64decode(body) if event["isBase64Encoded"] else body)
        stream(connection, request_id, event)
        if event.get("close"):  # in the middle of the response
            connection.close()
            time.sleep(600)
        answer = connection.getresponse()
        print("answered", answer.status, answer.read().decode(), flush=True)


def stream(connection: HTTPConnection, request_id: str, event: dict[str, Any]) -> None:
    """Send chunks; after `wait_before_last` exists the last; then end, die, or send trailers."""
    connection.putrequest("POST", PREFIX + request_id + "/response")
    connection.putheader("Lambda-Runtime-Function-Response-Mode", "streaming")
    connection.putheader("Content-Type", event.get("content_type", INTEGRATION))
    connection.putheader("Transfer-Encoding", "chunked")
    connection.putheader("Trailer", "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body")
    connection.endheaders()
    if "prelude" in event:
        send(connection, json.dumps(event["prelude"]).encode() + bytes(8))
    *first, last = event["chunks"]
    for chunk in first:
        send(connection, chunk.encode() * event.get("times", 1))
    while "wait_before_last" in event and not Path(event["wait_before_last"]).exists():
        time.sleep(0.01)
    send(connection, last.encode())
    if event.get("die"):
        os._exit(event["die"])
    if event.get("close"):
        return
    error = event.get("error")
    trailers = ""
    if error:
        body = base64.b64encode(json.dumps(error).encode()).decode()
        trailers = f"Lambda-Runtime-Function-Error-Type: {error['errorType']}\r\n"
        trailers += f"Lambda-Runtime-Function-Error-Body: {body}\r\n"
    connection.send(b"0\r\n" + trailers.encode() + b"\r\n")


def send(connection: HTTPConnection, chunk: bytes) -> None:
    """Send one chunk."""
    connection.send(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")


if __name__ == "__main__":
    main()
