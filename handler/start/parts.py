"""How long the parts of a start take, and when they are over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Parts(dict[str, float]):
    """Part → how long it took, in milliseconds, as the log says it; parts overlap.

    Attributes:
        ended: When each was over, in seconds of `time.perf_counter`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ended: dict[str, float] = {}

    def timed(self, name: str, function: Callable[[], T]) -> T:
        """Call a function, and note how long it took."""
        start = time.perf_counter()
        value = function()
        self.ended[name] = time.perf_counter()
        self[f"{name}_ms"] = round((self.ended[name] - start) * 1e3, 1)
        return value

    def ended_ms(self, started: float) -> dict[str, float]:
        """When each part was over, in milliseconds since a time of `time.perf_counter`."""
        return {name: round((ended - started) * 1e3, 1) for name, ended in self.ended.items()}
