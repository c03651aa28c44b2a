"""Guesses of what comes next, for the next step to verify: many tokens cost it little more than one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

LONGEST = 8  # tokens of a match
PLACES = 32  # the latest ones that are tried for a longer match
FIRST_GUESS = 3  # tokens
USUAL_CHANCE = 0.5  # that a guess is right
CHANCE_WEIGHT = 0.25  # of a guess in the mean of the latest
FORGOTTEN = 256  # tokens without a guess, after which it is as if none had been wrong
MISSES = 6  # in a row, and no more is guessed for a while
FIRST_PAUSE, LONGEST_PAUSE = 8, 128  # tokens; each pause is twice the one before


class Drafter(Protocol):
    """Guesses the tokens of one answer."""

    @property
    def chance(self) -> float:
        """That a guess is right whose forerunners are right, as it was lately."""
        ...

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

    chance = 0.0

    def guess(self, most: int) -> Sequence[int]:
        return ()

    def observe(self, tokens: Sequence[int], guessed: int, right: int) -> None:
        pass


class PromptLookup:
    """Guesses that what followed the latest tokens before, in prompt or answer, follows again.

    Prompt lookup decoding (Saxena, 2023; https://github.com/apoorvumang/prompt-lookup-decoding). The longest match
    counts, the latest among equals. One token alone is found everywhere: it is a match if the latest two places agree.

    Right ones double the next guess. A guess of one token costs next to nothing, so it is what comes after a wrong one.
    """

    def __init__(self, prompt_ids: Sequence[int]) -> None:
        """Begin with what was asked; it is indexed by the first guess, when the first token is out."""
        self._ids = list(prompt_ids)
        self._latest: dict[tuple[int, int], int] = {}  # two tokens → where those behind them begin
        self._before = [0]  # by such a place: the one before it behind the same two tokens; 0 for none
        self._places: dict[int, tuple[int, int]] = {}  # a token → the latest two places behind it
        self._length = FIRST_GUESS
        self._misses = 0
        self._pause = FIRST_PAUSE
        self._silent = 0
        self.chance = USUAL_CHANCE

    def guess(self, most: int) -> Sequence[int]:
        if self._silent > 0 or most < 1:
            return ()
        self._index()
        start = self._place()
        if start is None:
            return ()
        period = len(self._ids) - start  # a guess may be longer: what repeats does so on and on
        return [self._ids[start + at % period] for at in range(min(most, self._length))]

    def observe(self, tokens: Sequence[int], guessed: int, right: int) -> None:
        self._ids += tokens
        self._silent = max(0, self._silent - len(tokens))
        self._learn(len(tokens), guessed, right)
        if guessed and right == guessed:
            self._length, self._misses, self._pause = 2 * right + 1, 0, FIRST_PAUSE
        elif guessed:
            self._length = right + 1
            self._misses = 0 if right else self._misses + 1
        if self._misses == MISSES:
            self._misses, self._silent = 0, self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _learn(self, tokens: int, guessed: int, right: int) -> None:
        """Mean of the latest guesses; what wasn't tried for long is worth another try."""
        if not guessed:
            self.chance += (USUAL_CHANCE - self.chance) * min(1.0, tokens / FORGOTTEN)
            return
        for _ in range(right):
            self.chance += CHANCE_WEIGHT * (1 - self.chance)
        if right < guessed:
            self.chance -= CHANCE_WEIGHT * self.chance

    def _index(self) -> None:
        """Enter the places that now have a follower: all but the end."""
        ids = self._ids
        for place in range(len(self._before), len(ids)):
            token = ids[place - 1]
            pair = (ids[place - 2], token) if place > 1 else (-1, token)
            self._before.append(self._latest.get(pair, 0))
            self._latest[pair] = place
            self._places[token] = (self._places.get(token, (place, place))[1], place)

    def _place(self) -> int | None:
        """Where what was there before goes on as the end might."""
        ids = self._ids
        place = self._latest.get((ids[-2], ids[-1]), 0) if len(ids) > 1 else 0
        if not place:
            earlier, later = self._places.get(ids[-1], (0, 0))
            return later if later and ids[earlier] == ids[later] else None
        best, longest = place, 0
        for _ in range(PLACES):
            length = self._match(place)
            if length > longest:
                best, longest = place, length
            place = self._before[place]
            if not place or longest == LONGEST:
                break
        return best

    def _match(self, place: int) -> int:
        """How many tokens before a place are those before the end, of the two at least that brought us there."""
        ids, length = self._ids, 2
        while length < min(LONGEST, place) and ids[place - 1 - length] == ids[-1 - length]:
            length += 1
        return length
