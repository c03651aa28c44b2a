"""How fast the engine was lately, and so how long a job will take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NEWEST_WEIGHT = 0.3
# Each answer more makes a step that much longer, until it was measured; too much only lets a message wait.
SHARE = 0.5


class Pace:
    """Moving means in seconds a token: of prefill, and of decoding by the number of answers at a time."""

    def __init__(self) -> None:
        self._prefill: float | None = None
        self._decode: dict[int, float] = {}

    def observe(self, timings: Mapping[str, Any], at_once: int = 1) -> None:
        """Learn from an answer's timings.

        Args:
            timings: Its result's.
            at_once: How many answers were on their way while it decoded, itself included.
        """
        prefilled = timings["prompt_tokens"] - timings["cached_tokens"]
        if timings["prefill_ms"] and prefilled:
            self._prefill = _mean(self._prefill, timings["prefill_ms"] / 1e3 / prefilled)
        if timings["decode_ms"]:
            seconds = timings["decode_ms"] / 1e3 / (timings["completion_tokens"] - 1)
            self._decode[at_once] = _mean(self._decode.get(at_once), seconds)

    def expected_s(self, prompt_tokens: int, max_tokens: int, at_once: int = 1) -> float:
        """Seconds for a job that uses all its tokens, if so many are on their way all the time.

        What was never measured counts as nothing.
        """
        return prompt_tokens * (self._prefill or 0.0) + max_tokens * self._decode_s(at_once)

    def _decode_s(self, at_once: int) -> float:
        more = [count for count in self._decode if count >= at_once]
        if more:  # With fewer beside it, no token comes later.
            return self._decode[min(more)]
        most = max(self._decode, default=0)
        return self._decode[most] * (1 + SHARE * (at_once - most)) if most else 0.0


def _mean(before: float | None, now: float) -> float:
    return now if before is None else before + NEWEST_WEIGHT * (now - before)
