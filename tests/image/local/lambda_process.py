"""`python -m image.local` as a process of its own, for tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

ROOT = Path(__file__).parents[3]
FUNCTIONS = f"{sys.executable} -m awslambdaric tests.image.local.functions.handle"
STREAMER = f"{sys.executable} -m tests.image.local.streamer"


class LocalLambda:
    """A local Lambda on free ports, with its log."""

    def __init__(self, *arguments: str, **environ: str) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()
        clean = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "image.local", "--port", "0", "--api-port", "0", *arguments],
            cwd=ROOT,
            env={**clean, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        ready = json.loads(self.wait_for(lambda line: '"function_url"' in line))
        self.url: str = ready["function_url"]
        self.api: str = ready["invoke_api"]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()

    def wait_for(self, wanted: Callable[[str], bool]) -> str:
        """Wait for a line of the log."""
        with self._news:
            assert self._news.wait_for(lambda: any(map(wanted, self.lines)), 60), self.lines
            return next(filter(wanted, self.lines))

    def report(self, count: int = 1) -> str:
        """Wait for so many REPORT lines; return the last."""
        with self._news:
            assert self._news.wait_for(lambda: len(self._reports()) >= count, 60), self.lines
            return self._reports()[-1]

    def _reports(self) -> list[str]:
        return [line for line in self.lines if line.startswith("REPORT ")]

    def client(self) -> Any:
        """Make boto3's client."""
        config = Config(retries={"total_max_attempts": 1}, read_timeout=120)
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client("lambda", "us-east-1", endpoint_url=self.api, config=config, **keys)

    def invoke(self, event: object, **options: str) -> tuple[Any, str | None]:
        """Invoke and wait; return the payload and the function error."""
        answer = self.client().invoke(FunctionName="firebrick", Payload=json.dumps(event), **options)
        return json.loads(answer["Payload"].read()), answer.get("FunctionError")

    def child(self, words: str) -> int:
        """Return the process whose command line has these words."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in children:
            if words in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode():
                return int(pid)
        raise AssertionError(f"no child runs {words}")

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(60)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@contextmanager
def local_lambda(*arguments: str, **environ: str) -> Iterator[LocalLambda]:
    """Run one for the time of a test; its end must be in good order."""
    running = LocalLambda(*arguments, **environ)
    try:
        yield running
    finally:
        code = running.end()
    assert code == 0, running.lines


def wait_until(done: Callable[[], bool]) -> None:
    """Wait for something that has no event of its own."""
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)
