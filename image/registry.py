"""A registry on loopback, and how many bytes go into it."""

from __future__ import annotations

import json
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image.errors import RegistryFailed
from image.start.record import free_port
from image.tools import require

HOST = "127.0.0.1"
START_S = 20
CHUNK = 1 << 16
CONFIGURATION = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {directory}}}}}
http: {{addr: {host}:{port}}}
"""
ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True)
class Registry:
    """A running registry: its address for pushing, and a counter in front of it."""

    address: str
    counter: Counter

    def manifest(self, repository: str, tag: str) -> dict[str, Any]:
        """What was pushed under a name."""
        manifest: dict[str, Any] = json.loads(get_manifest(self.address, repository, tag)[0])
        return manifest


def get_manifest(address: str, repository: str, tag: str) -> tuple[str, str]:
    """A manifest in a registry on loopback: its text, byte for byte, and its digest."""
    request = urllib.request.Request(f"http://{address}/v2/{repository}/manifests/{tag}", headers={"Accept": ACCEPT})
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode(), answer.headers["Docker-Content-Digest"]


@contextmanager
def loopback_registry() -> Iterator[Registry]:
    """Run Debian's docker-registry as long as it is needed, empty at first.

    Raises:
        ToolMissing: it isn't installed.
        RegistryFailed: it didn't start.
    """
    program = require("docker-registry", "takes pushed images", "apt-get install docker-registry")
    with tempfile.TemporaryDirectory() as directory:
        port = free_port()
        configuration = Path(directory) / "registry.yml"
        configuration.write_text(CONFIGURATION.format(directory=directory, host=HOST, port=port))
        with subprocess.Popen(
            [program, "serve", str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            try:
                _wait(process, port)
                with Counter(port) as counter:
                    yield Registry(f"{HOST}:{counter.port}", counter)
            finally:
                process.kill()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            assert process.stderr is not None
            raise RegistryFailed(process.stderr.read().decode(errors="replace").strip()[-200:])
        with suppress(OSError), socket.create_connection((HOST, port), 1):
            return
        time.sleep(0.05)
    raise RegistryFailed(f"nothing listens on port {port} after {START_S} s")


class Counter:
    """Passes TCP on, and counts what clients send."""

    def __init__(self, port: int) -> None:
        self.sent = 0
        self._lock = threading.Lock()
        counter = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection((HOST, port)) as server:
                    back = threading.Thread(target=_pump, args=(server, self.request, lambda count: None), daemon=True)
                    back.start()
                    _pump(self.request, server, counter._add)
                    back.join()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self._server = Server((HOST, 0), Handler)
        self.port: int = self._server.server_address[1]

    def _add(self, count: int) -> None:
        with self._lock:
            self.sent += count

    def __enter__(self) -> Counter:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _pump(source: socket.socket, target: socket.socket, count: Any) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK):
            count(len(data))
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
