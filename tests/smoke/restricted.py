"""A container of one of the images, as restricted as Lambda's, without anything in front of it."""

from __future__ import annotations

import json
import subprocess
import threading
import uuid
from types import TracebackType
from typing import Any, Self

from bench.port import free_port
from image.base.names import BASE
from image.local.podman import podman, restrictions

READY_S = 60
RESTRICTIONS = (*restrictions(), "--pull", "never", "--network", "host", "--http-proxy=false")


def run(image: str, *words: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run Python in a restricted container, with the command line that is given, to its end."""
    command = podman("run", "--rm", *RESTRICTIONS, "--entrypoint", "python3", *options, image, *words)
    return subprocess.run(command, capture_output=True, text=True, timeout=READY_S)


def trial() -> str | None:
    """Try to run a container at all: None if it works, or why it doesn't."""
    images = subprocess.run(
        podman("images", "--quiet", "--filter", f"reference={BASE}"), capture_output=True, text=True
    )
    image = (images.stdout.split() or ["firebrick:stream"])[0]
    done = run(image, "-c", "pass")
    return (done.stderr.strip().splitlines() or ["no reason given"])[-1] if done.returncode else None


class Stream:
    """The stream function's server in a restricted container; what the adapter would call is called directly."""

    def __init__(self, image: str, *options: str) -> None:
        self.lines: list[dict[str, Any]] = []
        self.words: list[str] = []
        self._name = f"firebrick-smoke-{uuid.uuid4().hex[:12]}"
        self._news = threading.Condition()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        given = ("--env", f"AWS_LWA_PORT={port}", "--unsetenv", "HOME", *options)
        command = podman("run", "--rm", "--name", self._name, *RESTRICTIONS, *given, image)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            with self._news:
                if text.startswith("{"):
                    self.lines.append(json.loads(text))
                else:
                    self.words.append(text)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def ready(self) -> dict[str, Any]:
        """Wait for the log's line that says so."""
        with self._news:
            assert self._news.wait_for(lambda: bool(self.lines), READY_S), self.words
            assert self.lines[0]["event"] == "ready", self.lines
            return self.lines[0]

    def ended(self) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(READY_S)
        self._reader.join()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run(podman("rm", "--force", "--time", "1", "--ignore", self._name), capture_output=True)
        self.process.wait(READY_S)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
