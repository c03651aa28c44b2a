"""When an answer must be at its end: Lambda's deadline, less a margin for the last bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

from handler.engine.cancellation import Cancellable
from handler.errors import Cancelled, DeadlineExceeded, TimeUp

T = TypeVar("T")


@dataclass(frozen=True)
class Deadline:
    """A moment of the wall clock, which is what Lambda means: a process that was frozen or restored reads it rightly.

    Attributes:
        at: Unix seconds.
    """

    at: float

    def left_s(self) -> float:
        """Seconds until then; 0 once it has passed."""
        return max(0.0, self.at - time.time())

    @property
    def passed(self) -> bool:
        """Whether the time is up."""
        return time.time() >= self.at


class Expiry:
    """Uses a cancellation when a deadline comes, as long as it is entered; several generators may share it.

    Args:
        deadline: When.
        cancellation: Ends the engine's step in flight.
    """

    def __init__(self, deadline: Deadline, cancellation: Cancellable) -> None:
        self._deadline = deadline
        self._cancellation = cancellation
        self._expired = threading.Event()
        self._made = False  # whether any of them gave anything
        self._timer = threading.Timer(deadline.left_s(), self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Expiry:
        self._timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._timer.cancel()

    def until(self, tokens: Generator[T | None, None, None]) -> Generator[T | None, None, None]:
        """Pass tokens on until the deadline, which also ends a prefill in its middle.

        Args:
            tokens: The engine's; closed at the end.

        Raises:
            TimeUp: The deadline came after some tokens, of this generator or another one.
            DeadlineExceeded: It came before the first.
            Cancelled: Somebody else used the cancellation.
        """
        try:
            with closing(tokens):
                for token in tokens:
                    self._made = self._made or token is not None
                    yield token
                    # The timer's clock stands still in a machine that is paused; this one doesn't.
                    if self._deadline.passed:
                        raise self._late()
        except Cancelled:
            if not self._expired.is_set():
                raise
            raise self._late() from None

    def _expire(self) -> None:
        self._expired.set()
        self._cancellation.cancel()

    def _late(self) -> TimeUp | DeadlineExceeded:
        return TimeUp() if self._made else DeadlineExceeded()


def until(
    deadline: Deadline, tokens: Generator[T | None, None, None], cancellation: Cancellable
) -> Generator[T | None, None, None]:
    """Pass one generator's tokens on until the deadline; `Expiry.until`."""
    with Expiry(deadline, cancellation) as expiry:
        yield from expiry.until(tokens)
