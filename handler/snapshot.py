"""What is done before a process is stored in a snapshot, and in each process that is restored from it (SnapStart).

https://docs.aws.amazon.com/lambda/latest/dg/snapstart-uniqueness.html; docs/cold-start.md has the list of what such a
process must get right and why most of it needs nothing.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

Action = Callable[[], object]
ENTROPY = 32  # bytes


class Snapshot:
    """The actions of one process; without SnapStart there is none of this.

    Each must be quick: Lambda gives all that is done after a restore 10 s, and bills it.

    Args:
        told: Called with an event's name and the milliseconds that its actions took.
    """

    def __init__(self, told: Callable[[str, float], object] = lambda event, ms: None) -> None:
        self._told = told
        self._before: list[Action] = [_collect]
        self._after: list[Action] = [renew_randomness]
        self._informed: list[Callable[[float], object]] = []
        self._billed: list[Callable[[float], object]] = []
        self.restored = False  # whether `after` was run in this process

    def on_before(self, action: Action) -> None:
        """Register what is done before the checkpoint; it may be done more than once."""
        self._before.append(action)

    def on_after(self, action: Action) -> None:
        """Register what is done after the restore, once."""
        self._after.append(action)

    def on_restored(self, informed: Callable[[float], object]) -> None:
        """Register who is told how many milliseconds all that took."""
        self._informed.append(informed)

    def on_billed(self, informed: Callable[[float], object]) -> None:
        """Register who is told the same where no invocation's duration has it."""
        self._billed.append(informed)

    def before(self) -> None:
        """Get ready for the checkpoint."""
        self._told("checkpoint", _timed(self._before))

    def after(self, invoked: bool = False) -> None:
        """Become a process of its own; a second call does nothing.

        What fails, raises; then the next call tries all of it again.

        Args:
            invoked: Whether it is done within an invocation.
        """
        if self.restored:
            return
        took_ms = _timed(self._after)
        self.restored = True
        for informed in [*self._informed, *([] if invoked else self._billed)]:
            informed(took_ms)
        self._told("restored", took_ms)


def _timed(actions: list[Action]) -> float:
    began = time.perf_counter()
    for action in actions:
        action()
    return round((time.perf_counter() - began) * 1e3, 3)


def _collect() -> None:
    gc.collect()
    gc.freeze()


def renew_randomness() -> None:
    """Give the generators that keep a state a new one: in the snapshot, all environments have the same.

    Our own ids and seeds come from the system's generator at each use. Libraries use these: botocore spaces retries by
    Python's, TLS draws its keys from OpenSSL's.
    """
    random.seed(os.urandom(ENTROPY))
    numpy_random: Any = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(int.from_bytes(os.urandom(4), "little"))
    ssl: Any = sys.modules.get("ssl")
    if ssl is not None:
        ssl.RAND_add(os.urandom(ENTROPY), float(ENTROPY))
