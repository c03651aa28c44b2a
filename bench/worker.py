"""A process that measures on demand, so that several of them can take turns."""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType


class Worker:
    """A Python module that answers each line of its standard input with a line."""

    def __init__(self, module: str, *arguments: str, **environ: str) -> None:
        """Start `python -m module` with arguments and further variables of the environment."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env={**os.environ, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def ask(self, line: str) -> str:
        """Send a line and give the answer.

        Raises:
            SystemExit: the process ended instead; its own message is on stderr.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise SystemExit(self._process.wait() or 1) from None
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(self._process.wait() or 1)
        return answer.strip()
