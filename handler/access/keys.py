"""Who may ask: everybody, who has one key, or who has the key that a secret holds now."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable
from typing import Protocol

from handler.errors import FirebrickError
from handler.logs import Log

RETRY_S = 10.0  # Secrets Manager is asked no more often, whatever strangers send.
WAIT_S = 3.0  # A request waits no longer for Secrets Manager; the read goes on without it.
LOST_S = 60.0  # No read takes so long: the process was frozen in its middle, and the connection is dead.


class Keys(Protocol):
    """Tells right keys from wrong ones."""

    async def accepts(self, given: bytes) -> bool:
        """Whether a request with this key may pass; a request without a key has given b""."""
        ...

    def doubt(self) -> None:
        """The process was restored from a snapshot: what was read before may have changed."""
        ...


class AnyKey:
    """Lets everybody in."""

    async def accepts(self, given: bytes) -> bool:
        """Whether a request with this key may pass: always."""
        return True

    def doubt(self) -> None:
        """Nothing was read."""


class FixedKey:
    """One key, for as long as the process lives."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    async def accepts(self, given: bytes) -> bool:
        """Whether it is that key."""
        return hmac.compare_digest(given, self._key)

    def doubt(self) -> None:
        """It is the configuration's, which a snapshot belongs to."""


class SecretKey:
    """The key that a secret holds, read now and again.

    Nothing runs between requests, for a function is frozen then: each request looks at how old the key is. The wall
    clock says so, as it does for deadlines: what a monotonic clock makes of a freeze isn't documented, and in an
    environment that is restored from a snapshot it goes on where it stood.

    - Younger than the time to live, the key passes at once.
    - Older, it still does, and is read anew beside the request.
    - Older than twice that, the function was frozen or restored: the request waits for the read, or a key that was
      replaced months ago would open every environment that a snapshot gives.
    - Another key may be the new one: the secret is read again before it is refused, at most once in RETRY_S.

    What can't be read leaves the old key as it is.

    Args:
        read: Gives the key that the secret holds now; called here, and later in other threads.
        ttl_s: Time to live, in seconds.
        log: Told when the key can't be read anew.
        now: Gives Unix seconds.

    Raises:
        StartupError: It can't be read.
    """

    def __init__(self, read: Callable[[], str], ttl_s: float, log: Log, now: Callable[[], float] = time.time) -> None:
        self._read = read
        self._ttl_s = ttl_s
        self._log = log
        self._now = now
        # A read is as old as its beginning: it may have been frozen before its end.
        self._read_at = self._tried_at = now()
        self._key = read().encode()
        self._refresh: asyncio.Task[None] | None = None

    async def accepts(self, given: bytes) -> bool:
        """Whether it is the secret's key."""
        known = hmac.compare_digest(given, self._key)
        age = self._since(self._read_at)
        if known and age < self._ttl_s:
            return True
        if not given:
            return False
        refresh = self._refreshing()
        if known and age < 2 * self._ttl_s:
            return True
        if refresh is not None:
            await asyncio.wait([refresh], timeout=WAIT_S)
        return hmac.compare_digest(given, self._key)

    def doubt(self) -> None:
        """Let the next request wait for the secret, however young the clock makes the key."""
        self._read_at = self._tried_at = float("-inf")
        self._refresh = None  # It hangs in another environment's connection.

    def _refreshing(self) -> asyncio.Task[None] | None:
        """The read that runs, or a new one unless the last is too recent."""
        tried = self._since(self._tried_at)
        if self._refresh is not None and not self._refresh.done() and tried < LOST_S:
            return self._refresh
        if tried < RETRY_S:
            return None
        self._tried_at = self._now()
        self._refresh = asyncio.create_task(self._read_anew(self._tried_at))
        return self._refresh

    async def _read_anew(self, began_at: float) -> None:
        try:
            key = await asyncio.to_thread(self._read)
        except Exception as error:
            # The text of an error that isn't ours might hold the key.
            reason = str(error) if isinstance(error, FirebrickError) else "unexpected"
            self._log.event("api_key_refresh_failed", type=type(error).__name__, reason=reason)
            return
        if self._tried_at == began_at:  # Otherwise it was frozen, and a later one knows better.
            self._key, self._read_at = key.encode(), began_at

    def _since(self, at: float) -> float:
        elapsed = self._now() - at
        return elapsed if elapsed >= 0 else float("inf")  # A clock that was set back mustn't make a key young.
