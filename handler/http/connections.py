"""All connections of a server: how many there may be, who waits for its client, and who has waited too long."""

from __future__ import annotations

import resource
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from handler.errors import SettingsError

if TYPE_CHECKING:
    from handler.logs import Log

MOST = 1000  # by default: each may hold up to 100 KB of what its client has sent
RESERVED = 128  # descriptors for all else: files, the log, Secrets Manager, and connections on their way in and out
TOLD_EVERY_S = 60.0


@dataclass(frozen=True)
class Bounds:
    """What strangers may take.

    Attributes:
        connections: How many at a time.
        head_s: Seconds for a request's line and headers, from a connection's beginning or from their first byte.
        keep_alive_s: Seconds between two requests of a connection.
    """

    connections: int
    head_s: float
    keep_alive_s: float = 75.0


def connection_limit(wanted: int | None) -> int:
    """How many connections there may be.

    Args:
        wanted: What the operator says; None derives it from the descriptors that this process may have.

    Raises:
        SettingsError: There are fewer descriptors than that.
    """
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if descriptors == resource.RLIM_INFINITY:
        return wanted or MOST
    room = max(descriptors - RESERVED, descriptors // 2)
    if wanted is not None and wanted > room:
        expected = f"at most {room}, for this process may have {descriptors} descriptors (ulimit -n)"
        raise SettingsError("FIREBRICK_CONNECTIONS", wanted, expected)
    return wanted or min(MOST, room)


class Guarded(Protocol):
    """A connection, as seen from here."""

    def give_way(self) -> None:
        """End at once: another one needs the place."""
        ...

    def check(self, now: float) -> None:
        """End if the client has taken too long; `now` is the loop's time."""
        ...


class Connections:
    """Who is connected.

    Args:
        bounds: What they may take.
        log: Told of those that were refused, as numbers: whoever sends rubbish must not fill it.
    """

    def __init__(self, bounds: Bounds, log: Log) -> None:
        self.bounds = bounds
        self._log = log
        self._all: set[Guarded] = set()
        self._waiting: dict[Guarded, None] = {}  # for their clients, the longest first
        self._refused: Counter[str] = Counter()
        self._told_at = -TOLD_EVERY_S

    def __len__(self) -> int:
        return len(self._all)

    def admit(self, connection: Guarded) -> bool:
        """Count one more, in the place of the one that has waited longest if there are too many.

        Returns:
            Whether there is a place; if not, all others are being answered.
        """
        room = True
        if len(self._all) >= self.bounds.connections:
            longest = next(iter(self._waiting), None)
            room = longest is not None
            if longest is not None:
                self.count("gave_way")
                self.leave(longest)
                longest.give_way()
        self._all.add(connection)
        self.wait(connection)
        return room

    def wait(self, connection: Guarded) -> None:
        """Note that a connection waits for its client from now on."""
        self._waiting.pop(connection, None)
        if connection in self._all:
            self._waiting[connection] = None

    def serve(self, connection: Guarded) -> None:
        """Note that a connection's client waits for an answer."""
        self._waiting.pop(connection, None)

    def leave(self, connection: Guarded) -> None:
        """Forget a connection."""
        self._all.discard(connection)
        self._waiting.pop(connection, None)

    def close_idle(self) -> None:
        """End those that wait for their clients."""
        for connection in [*self._waiting]:
            self.leave(connection)
            connection.give_way()

    def count(self, reason: str) -> None:
        """Note that a connection was refused or ended, or couldn't be taken."""
        self._refused[reason] += 1

    def sweep(self, now: float) -> None:
        """End those that have taken too long, and tell now and then how many were refused.

        Args:
            now: The loop's time.
        """
        for connection in [*self._all]:
            try:
                connection.check(now)
            except Exception as error:  # One connection must not end the server.
                self._log.failure(error)
                connection.give_way()
        if self._refused and time.monotonic() - self._told_at >= TOLD_EVERY_S:
            self._told_at = time.monotonic()
            self._log.event("connections_refused", open=len(self._all), **self._refused)
            self._refused.clear()
