"""What one request may cost."""

from __future__ import annotations

from dataclasses import dataclass

LARGEST_HEAD = 32 * 2**10  # bytes of a request's line and headers


@dataclass(frozen=True)
class Limits:
    """What one request may cost.

    Attributes:
        body: Bytes of its body, compressed or not.
        response: Bytes of its answer.
        idle_s: Seconds for which its client may send, or take, nothing.
        heartbeat_s: Seconds for which a stream may be silent; 0 for any.
    """

    body: int
    response: int
    idle_s: float
    heartbeat_s: float
