"""A function in a thread of its own, for what loads side by side at start-up."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Runs a function in a daemon thread, so that a signal can end the process meanwhile.

    Args:
        function: What to run.
        nice: How far its thread stands back for others where processors are short, from 0 to 19.
    """

    def __init__(self, function: Callable[[], T], nice: int = 0) -> None:
        self._function = function
        self._nice = nice
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            _stand_back(self._nice)
            self._value = self._function()
        except Exception as error:
            self._error = error

    def result(self) -> T:
        """Wait for the function; return what it returned, or raise what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value


def _stand_back(nice: int) -> None:
    if nice and sys.platform == "linux":  # elsewhere it is the whole process that has a niceness
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, nice)
