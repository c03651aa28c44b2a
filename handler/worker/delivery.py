"""Results that are kept and sent: the bucket says what has been sent already.

A result is kept first, under its key and only once; then it is sent; then that is marked in the bucket. Whoever comes
upon a result that isn't marked sends what is kept, and generates nothing anew. So no crash loses a result. It is sent
twice only if a process dies between sending and marking, or if two find it unmarked in the same moment after a death.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from handler.errors import ResultsUnavailable
from handler.worker.destinations import Destination, message_of
from handler.worker.results import Result, Results

# A result that was kept so recently is being sent, most likely: longer than all attempts to send and to mark take.
PATIENCE_S = 90.0


class Keeper(Results, Protocol):
    """A place that also remembers what was sent; `results.Bucket`."""

    def place(self, key: str) -> dict[str, str]:
        """Where the result of that key is."""
        ...

    def age_s(self, key: str) -> float | None:
        """For how long the result of that key has been there, by the place's own clock; None if that isn't known."""
        ...

    def is_sent(self, key: str, to: str) -> bool:
        """Whether the result of that key was sent there."""
        ...

    def mark_sent(self, key: str, to: str) -> None:
        """Remember that it was."""
        ...


class Delivered:
    """Results that are in their place and at all destinations; `results.Results`.

    Args:
        keeper: Where they are kept.
        destinations: Where they are sent, in this order.
        patience_s: For how long a result that isn't marked is left to whoever has kept it.
    """

    def __init__(self, keeper: Keeper, destinations: Sequence[Destination], patience_s: float = PATIENCE_S) -> None:
        self._keeper = keeper
        self._destinations = destinations
        self._patience_s = patience_s

    def has(self, key: str) -> bool:
        """Whether there is a result of that key, which then is at all destinations, too.

        Raises:
            ResultsUnavailable: It isn't known, or can't be sent, or may be on its way.
        """
        if not self._keeper.has(key):
            return False
        self._settle(key)
        return True

    def read(self, key: str) -> Result | None:
        """Return the result of that key, if there is one, which then is at all destinations.

        Raises:
            ResultsUnavailable: It can't be read or sent, or may be on its way.
        """
        result = self._keeper.read(key)
        if result is not None:
            self._settle(key, result)
        return result

    def keep(self, key: str, result: Result) -> bool:
        """Keep a result unless there is one already, and send it; returns whether it is this one that is kept.

        Raises:
            ResultsUnavailable: It can't be kept or sent; once it is kept, the next one with this key sends it.
        """
        kept = self._keeper.keep(key, result)
        if kept:
            self._send(key, result, self._destinations)
        else:
            self._settle(key)
        return kept

    def _settle(self, key: str, result: Result | None = None) -> None:
        """Send what somebody else has kept and not sent."""
        unsent = [one for one in self._destinations if not self._keeper.is_sent(key, one.name)]
        if not unsent:
            return
        age_s = self._keeper.age_s(key)
        if age_s is not None and age_s < self._patience_s:
            names = ", ".join(one.name for one in unsent)
            raise ResultsUnavailable(
                f"sending {key} to {names}", f"another process has kept it {age_s:.0f} s ago and may be sending it"
            )
        result = result or self._keeper.read(key)
        if result is not None:  # else somebody has deleted it meanwhile
            self._send(key, result, unsent)

    def _send(self, key: str, result: Result, destinations: Sequence[Destination]) -> None:
        message = message_of(key, result, self._keeper.place(key))
        for destination in destinations:
            destination.send(key, message)
            self._keeper.mark_sent(key, destination.name)
