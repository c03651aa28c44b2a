"""What a step takes, by its rows; and so how many tokens are worth guessing."""

from __future__ import annotations

NEWEST_WEIGHT = 0.1  # of a step's time in its mean
CHEAP_ROW = 0.05  # of a step's time, for a row more, until it is measured


class Costs:
    """Moving means of the times of steps: on a large model a row more costs next to nothing, on a tiny one a third."""

    def __init__(self) -> None:
        self._seconds: dict[int, float | None] = {}  # by number of rows

    def note(self, rows: int, seconds: float) -> None:
        """Learn from a step; the first of so many rows, which takes memory, doesn't count."""
        if rows not in self._seconds:
            self._seconds[rows] = None
            return
        before = self._seconds[rows]
        self._seconds[rows] = seconds if before is None else before + NEWEST_WEIGHT * (seconds - before)

    def seconds(self, rows: int) -> float:
        """What a step of so many rows takes; 0 until it is measured."""
        return self._seconds.get(rows) or 0.0

    def guesses(self, answers: int, chance: float, most: int) -> int:
        """Choose the number of guesses that gives the most tokens in a second.

        Args:
            answers: how many decode, each with as many guesses.
            chance: that a guess is right whose forerunners are right.
            most: at most so many.
        """
        if most < 1 or 1 + chance <= self._ratio(2 * answers, answers):
            return 0  # more guesses than one have less chance yet, and this is asked at every token
        best, highest, expected = 0, 1.0, 1.0
        for guesses in range(1, most + 1):
            expected += chance**guesses
            gain = expected / self._ratio(answers * (1 + guesses), answers)
            if gain > highest:
                best, highest = guesses, gain
        return best

    def _ratio(self, rows: int, fewer: int) -> float:
        """How many times as long as a step of fewer rows one takes."""
        base, known = self._seconds.get(fewer), self._seconds.get(rows)
        if base is None or known is None:
            return 1 + CHEAP_ROW * (rows - fewer)
        return max(1.0, known / base)
