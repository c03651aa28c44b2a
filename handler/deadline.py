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


def until(
    deadline: Deadline, tokens: Generator[T | None, None, None], cancellation: Cancellable
) -> Generator[T | None, None, None]:
    """Pass tokens on until the deadline, which also ends a prefill in its middle.

    Args:
        deadline: When to stop.
        tokens: The engine's; closed at the end.
        cancellation: Ends the engine's step in flight.

    Raises:
        TimeUp: The deadline came after some tokens.
        DeadlineExceeded: It came before the first.
        Cancelled: Somebody else used the cancellation.
    """
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        cancellation.cancel()

    timer = threading.Timer(deadline.left_s(), expire)
    timer.daemon = True
    timer.start()
    made = False
    try:
        with closing(tokens):
            for token in tokens:
                made = made or token is not None
                yield token
                if deadline.passed:  # The timer's clock stands still in a machine that is paused; this one doesn't.
                    raise _late(made)
    except Cancelled:
        if not expired.is_set():
            raise
        raise _late(made) from None
    finally:
        timer.cancel()


def _late(made: bool) -> TimeUp | DeadlineExceeded:
    return TimeUp() if made else DeadlineExceeded()
