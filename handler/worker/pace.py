"""How fast the engine was lately, and so how long a job will take."""

from collections.abc import Mapping
from typing import Any

NEWEST_WEIGHT = 0.3


class Pace:
    """Moving means of prefill and decode, in seconds a token."""

    def __init__(self) -> None:
        self._prefill: float | None = None
        self._decode: float | None = None

    def observe(self, timings: Mapping[str, Any]) -> None:
        """Learn from an answer's timings."""
        prefilled = timings["prompt_tokens"] - timings["cached_tokens"]
        if timings["prefill_ms"] and prefilled:
            self._prefill = _mean(self._prefill, timings["prefill_ms"] / 1e3 / prefilled)
        if timings["decode_ms"]:
            self._decode = _mean(self._decode, timings["decode_ms"] / 1e3 / (timings["completion_tokens"] - 1))

    def expected_s(self, prompt_tokens: int, max_tokens: int) -> float:
        """Seconds for a job that uses all its tokens; what was never measured counts as nothing."""
        return prompt_tokens * (self._prefill or 0.0) + max_tokens * (self._decode or 0.0)


def _mean(before: float | None, now: float) -> float:
    return now if before is None else before + NEWEST_WEIGHT * (now - before)
