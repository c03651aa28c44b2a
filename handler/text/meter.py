"""One answer's tokens, counted and timed."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal

from handler.billing import Bill, Share
from handler.errors import TimeUp
from handler.text.deltas import Token


@dataclass
class Meter:
    """Counts one answer's tokens and takes its times, in seconds of `time.perf_counter`."""

    prompt_tokens: int
    received_at: float
    completion_tokens: int = 0
    cached_tokens: int = 0  # of the prompt: found in the engine's cache
    queued_at: float = field(default_factory=time.perf_counter)
    started_at: float | None = None
    first_token_at: float | None = None
    last_token_at: float | None = None
    stopped_by: Literal["deadline"] | None = None
    share: Share = field(default_factory=lambda: Bill().share())  # of what the environment costs
    _begun: set[int] = field(default_factory=set)  # prompts whose answers have a token

    def start(self) -> None:
        """The engine begins."""
        self.started_at = time.perf_counter()
        self.share.start()

    def end(self) -> None:
        """The answer is out: from now on it costs nothing."""
        self.share.end()

    def count(
        self, tokens: Generator[Token | None, None, None], prompt: int = 0
    ) -> Generator[Token | None, None, None]:
        """Pass the tokens of a choice on, counting them, and None as it is; note if time is up.

        Args:
            tokens: The engine's; closed at the end.
            prompt: Which one it is an answer to: what was cached of a prompt counts once.
        """
        with closing(tokens):
            try:
                for token in tokens:
                    if token is not None:
                        self._note(token, prompt)
                    yield token
            except TimeUp:
                self.stopped_by = "deadline"
                raise

    def scored(self, prompt: int) -> None:
        """A prompt was read for its scores: what is cached of it now is this request's own work."""
        self._begun.add(prompt)
        if self.first_token_at is None:
            self.first_token_at = time.perf_counter()

    def _note(self, token: Token, prompt: int) -> None:
        self.last_token_at = time.perf_counter()
        if self.first_token_at is None:
            self.first_token_at = self.last_token_at
        if prompt not in self._begun:
            self._begun.add(prompt)
            self.cached_tokens += token.cached_tokens
        self.completion_tokens += 1

    def read(self, cached_tokens: int, last: bool) -> None:
        """An input was read that gives no token; with the last one the prefill is at its end."""
        self.cached_tokens += cached_tokens
        if last:
            self.first_token_at = time.perf_counter()

    def usage(self) -> dict[str, Any]:
        """Return OpenAI's usage object."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }

    def timings(self) -> dict[str, float | int | str | None]:
        """Return the times so far in milliseconds, null for what didn't happen, what they cost, and what cut the answer
        off if not its length."""
        decode_ms = _ms(self.first_token_at, self.last_token_at)
        # The first token belongs to the prefill, so n tokens are n - 1 steps.
        rate = (self.completion_tokens - 1) / decode_ms * 1e3 if decode_ms else None
        return {
            "queue_ms": _ms(self.queued_at, self.started_at),
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "prefill_ms": _ms(self.started_at, self.first_token_at),
            "first_token_ms": _ms(self.received_at, self.first_token_at),
            "completion_tokens": self.completion_tokens,
            "decode_ms": decode_ms,
            "decode_tokens_per_second": rate and round(rate, 2),
            **self.share.members(),
            **({"stopped_by": self.stopped_by} if self.stopped_by else {}),
        }


def _ms(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round((end - start) * 1e3, 3)
