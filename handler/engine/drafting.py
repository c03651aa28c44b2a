"""Guesses of what comes next, for the next step to verify: many tokens cost it little more than one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

LONGEST, SHORTEST = 3, 2  # tokens of a match; one token alone is found everywhere
MISSES = 4  # in a row, and no more is guessed for a while
FIRST_PAUSE, LONGEST_PAUSE = 8, 128  # tokens; each pause is twice the one before


class Drafter(Protocol):
    """Guesses the tokens of one answer."""

    def guess(self, most: int) -> Sequence[int]:
        """Guess up to `most` tokens that follow those that it has seen."""
        ...

    def observe(self, tokens: Sequence[int], guessed: int, right: int) -> None:
        """Learn what came.

        Args:
            tokens: that have come.
            guessed: how many were guessed of them.
            right: how many of the guesses were right.
        """
        ...


class NoDrafter:
    """Guesses nothing."""

    def guess(self, most: int) -> Sequence[int]:
        return ()

    def observe(self, tokens: Sequence[int], guessed: int, right: int) -> None:
        pass


class PromptLookup:
    """Guesses that what followed the latest tokens before, in prompt or answer, follows again.

    Prompt lookup decoding (Saxena, 2023; https://github.com/apoorvumang/prompt-lookup-decoding). A guess of one token
    costs next to nothing, so it is how trying begins; right ones double the next guess, a wrong one ends that.
    """

    def __init__(self, prompt_ids: Sequence[int]) -> None:
        """Begin with what was asked."""
        self._ids: list[int] = []
        self._latest: dict[tuple[int, ...], int] = {}  # n-gram → where the tokens behind it begin
        self._length = 1
        self._misses = 0
        self._pause = FIRST_PAUSE
        self._silent = 0
        self._add(prompt_ids)

    def guess(self, most: int) -> Sequence[int]:
        if self._silent > 0 or most < 1:
            return ()
        for length in range(LONGEST, SHORTEST - 1, -1):
            start = self._latest.get(tuple(self._ids[-length:]))
            if start is not None:
                return self._ids[start : start + min(most, self._length)]
        return ()

    def observe(self, tokens: Sequence[int], guessed: int, right: int) -> None:
        self._silent -= min(self._silent, len(tokens))
        if guessed and right == guessed:
            self._length, self._misses, self._pause = 2 * right + 1, 0, FIRST_PAUSE
        elif guessed:
            self._length = max(1, right)
            self._misses = 0 if right else self._misses + 1
        if self._misses == MISSES:
            self._misses, self._silent = 0, self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._add(tokens)

    def _add(self, tokens: Sequence[int]) -> None:
        """Enter the n-grams that now have a follower: those that end before the latest token."""
        ids = self._ids
        for token in tokens:
            for length in range(SHORTEST, LONGEST + 1):
                if len(ids) >= length:
                    self._latest[tuple(ids[-length:])] = len(ids)
            ids.append(token)
