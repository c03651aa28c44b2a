"""Lambda's Runtime API and a function behind it: `python -m awslambdaric` as a process of its own."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

HANDLER = "handler.worker.function.handle"


@dataclass
class Invocation:
    """An event on its way through the function."""

    event: bytes
    time_out_s: float
    trace_id: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    outcome: queue.SimpleQueue[tuple[str, Any]] = field(default_factory=queue.SimpleQueue)


class Server(ThreadingHTTPServer):
    """A server whose clients may be killed."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is gone is none."""


class Lambda:
    """One execution environment."""

    def __init__(self, **environ: str) -> None:
        self._waiting: queue.SimpleQueue[Invocation] = queue.SimpleQueue()
        self._running: dict[str, Invocation] = {}
        self.init_error: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._server = Server(("127.0.0.1", 0), self._requests())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{self._server.server_address[1]}"
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", HANDLER],
            env={**os.environ, "AWS_LAMBDA_RUNTIME_API": address, "AWS_LAMBDA_FUNCTION_NAME": "worker", **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Lambda:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        self._server.shutdown()
        self._server.server_close()

    def begin(self, event: object, time_out_s: float = 60, trace_id: str | None = None) -> Invocation:
        """Hand an event over."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        invocation = Invocation(body, time_out_s, trace_id)
        self._waiting.put(invocation)
        return invocation

    def invoke(self, event: object, time_out_s: float = 60, trace_id: str | None = None) -> Any:
        """Invoke and return the answer."""
        kind, answer = self.begin(event, time_out_s, trace_id).outcome.get(timeout=60)
        assert kind == "response", answer
        return answer

    def failure(self, event: object, time_out_s: float = 60) -> Any:
        """Invoke and return the error."""
        kind, answer = self.begin(event, time_out_s).outcome.get(timeout=60)
        assert kind == "error", answer
        return answer

    def end(self) -> int:
        """Kill the process; return its exit code."""
        self.process.kill()
        code = self.process.wait(60)
        self._reader.join(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def logged(self, message: str) -> list[dict[str, Any]]:
        """Lines of the log with that message."""
        lines = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [line for line in lines if line.get("message") == message]

    def metrics(self) -> list[dict[str, Any]]:
        """The EMF lines."""
        return [json.loads(line) for line in self.lines if '"_aws"' in line]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    def _requests(outer) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Requests(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                invocation = outer._waiting.get()
                outer._running[invocation.id] = invocation
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(invocation.event)))
                self.send_header("Lambda-Runtime-Aws-Request-Id", invocation.id)
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + invocation.time_out_s) * 1e3)))
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:1:function:worker")
                if invocation.trace_id:
                    self.send_header("Lambda-Runtime-Trace-Id", invocation.trace_id)
                self.end_headers()
                self.wfile.write(invocation.event)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                *_, id, what = self.path.split("/")
                if id == "init":
                    outer.init_error.put(body)
                else:
                    outer._running.pop(id).outcome.put((what, body))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        return Requests
