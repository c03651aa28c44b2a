"""What ends a generation from another thread, even in the middle of a step."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol


class Cancellable(Protocol):
    """What ends a generation from another thread."""

    def cancel(self) -> None: ...


class Cancellation:
    """Ends one generation; whoever runs its steps is told at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._interrupt: Callable[[], None] | None = None

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """End the generation; may be called at any time, from any thread, more than once."""
        with self._lock:
            self._cancelled = True
            if self._interrupt is not None:
                self._interrupt()

    def watch(self, interrupt: Callable[[], None] | None) -> None:
        """Have `interrupt` called by `cancel`, at once if that was called already; None ends it."""
        with self._lock:
            self._interrupt = interrupt
            if self._cancelled and interrupt is not None:
                interrupt()
