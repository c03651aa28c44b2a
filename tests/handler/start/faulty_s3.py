"""moto's S3, and a proxy before it that misbehaves as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3

from handler.settings import S3Prefix

BUCKET, PREFIX = "models", "demo model/7"  # a blank, so that paths are quoted as they are signed
AT = S3Prefix(BUCKET, PREFIX)
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
Fault = Callable[["Handler"], bool]


class Handler(BaseHTTPRequestHandler):
    """Hands a request on, unless there is a fault for it."""

    protocol_version = "HTTP/1.1"
    server: Proxy

    def do_GET(self) -> None:
        """Answer as moto does, or as the next fault says."""
        self.server.paths.append(self.path)
        fault = self.server.next_fault(self.path)
        if fault is None or not fault(self):
            self.answer(*self.ask())

    def ask(self) -> tuple[int, dict[str, str], bytes]:
        """Moto's answer."""
        connection = HTTPConnection(self.server.behind)
        connection.request("GET", self.path, headers={**self.headers, "connection": "close"})
        answer = connection.getresponse()
        body, headers = answer.read(), dict(answer.getheaders())
        connection.close()
        return answer.status, headers, body

    def answer(self, status: int, headers: dict[str, str], body: bytes, sent: int | None = None) -> None:
        """Send it, or `sent` bytes of its body; the connection is cut then."""
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("connection", "content-length", "date", "server", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:sent])
        if sent is not None:
            self.close_connection = True

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


def busy(request: Handler) -> bool:
    request.answer(503, {}, SLOW_DOWN)
    return True


def cut(request: Handler) -> bool:
    status, headers, body = request.ask()
    request.answer(status, headers, body, sent=len(body) // 2)
    return True


def dropped(request: Handler) -> bool:
    request.close_connection = True
    return True


def elsewhere(request: Handler) -> bool:
    request.answer(301, {"x-amz-bucket-region": "eu-west-3"}, b"<Error><Code>PermanentRedirect</Code></Error>")
    return True


def without_ranges(request: Handler) -> bool:
    del request.headers["Range"]
    return False


class Proxy(ThreadingHTTPServer):
    """Before moto.

    Attributes:
        faults: What goes wrong next, by the name of the file; of what is asked for after that, nothing.
        paths: What was asked for.
    """

    daemon_threads = True

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behind = urlsplit(behind).netloc
        self.faults: dict[str, list[Fault]] = {}
        self.paths: list[str] = []
        self._lock = threading.Lock()

    def next_fault(self, path: str) -> Fault | None:
        """Take the next one of a file."""
        with self._lock:
            waiting = self.faults.get(path.rsplit("/", 1)[-1])
            return waiting.pop(0) if waiting else None


class FaultyS3:
    """An artefact in a bucket, and how to get at it.

    Attributes:
        client: boto3's, past the proxy.
        proxy: What misbehaves.
        environ: What a process needs to find it.
    """

    def __init__(self, url: str, artefact: Path) -> None:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        self.client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
        self.client.create_bucket(Bucket=BUCKET)
        for path in artefact.iterdir():
            self.put(path.name, path.read_bytes())
        self.proxy = Proxy(url)
        self.environ = {**KEYS, "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self.proxy.server_address[1]}"}

    def put(self, name: str, content: bytes) -> None:
        """Write one of the artefact's files."""
        self.client.put_object(Bucket=BUCKET, Key=AT.key(name), Body=content)

    def delete(self, name: str) -> None:
        """Remove one of the artefact's files."""
        self.client.delete_object(Bucket=BUCKET, Key=AT.key(name))

    def read(self, name: str) -> bytes:
        """Read one of the artefact's files."""
        content: bytes = self.client.get_object(Bucket=BUCKET, Key=AT.key(name))["Body"].read()
        return content


@contextmanager
def faulty_s3(url: str, artefact: Path) -> Iterator[FaultyS3]:
    """Put an artefact into a server of moto; gives the way to it."""
    made = FaultyS3(url, artefact)
    thread = threading.Thread(target=made.proxy.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        made.proxy.shutdown()
        thread.join()
        made.proxy.server_close()
        made.client.close()
