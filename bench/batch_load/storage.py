"""A proxy in front of S3 that fails now and then, as S3 and networks do; it counts what is asked."""

from __future__ import annotations

import http.client
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from threading import Lock, Thread
from urllib.parse import urlsplit

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


class Storage:
    """S3, for the worker.

    Args:
        url: where it really is.
        refused: the part of all calls that get a 503.
        cut: the part that are done, but whose answer is lost.
    """

    def __init__(self, url: str, refused: float, cut: float) -> None:
        self.counts: Counter[str] = Counter()  # by method
        self.faults: Counter[str] = Counter()
        self.written: set[str] = set()  # paths of objects
        self._address = urlsplit(url)
        self._refused, self._cut = refused, cut
        self._rng, self._lock = Random(1), Lock()

    def fate(self, method: str) -> str:
        """Count a call, and say what becomes of it."""
        with self._lock:
            self.counts[method] += 1
            drawn = self._rng.random()
            fate = "refused" if drawn < self._refused else "cut" if drawn < self._refused + self._cut else "done"
            if fate != "done":
                self.faults[fate] += 1
            return fate

    def forward(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Ask S3; gives status, headers and body."""
        connection = http.client.HTTPConnection(self._address.hostname or "", self._address.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """Say nothing: a process that was killed leaves its connections."""


@contextmanager
def storage(url: str, refused: float = 0.0, cut: float = 0.0) -> Iterator[tuple[str, Storage]]:
    """Start a proxy; gives its URL and itself."""
    behind = Storage(url, refused, cut)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fate = behind.fate(self.command)
            if fate == "refused":
                self._send(503, [("Content-Type", "application/xml")], SLOW_DOWN)
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            status, given, content = behind.forward(self.command, self.path, headers, body)
            if self.command == "PUT" and status == 200:
                behind.written.add(self.path.partition("?")[0])
            if fate == "cut":
                self.close_connection = True
                return
            self._send(status, given, content)

        def _send(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response_only(status)
            lengths = [value for name, value in headers if name.lower() == "content-length"]
            for name, value in headers:
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", lengths[0] if self.command == "HEAD" and lengths else str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer  # noqa: N815  # the base class calls these

    server = _Server(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", behind
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
