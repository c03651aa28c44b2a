"""The answers of a batch that are on their way, and whether another one has time and memory beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from handler.deadline import Deadline
from handler.engine.memory import Room
from handler.errors import NotEnoughTime
from handler.generation import Generation
from handler.worker.pace import Pace


class Running:
    """What runs at a time, within one invocation.

    Args:
        pace: What is known of the engine's speed; it learns here.
        deadline: When all must be at its end.
        room: What answers may take of the memory; None for as much as they want.
        slots: How many at a time; documents have several answers each, so that it isn't enough to count messages.
    """

    def __init__(self, pace: Pace, deadline: Deadline, room: Room | None, slots: int) -> None:
        self._pace = pace
        self._deadline = deadline
        self._room = room
        self._slots = slots
        self._entries: list[_Entry] = []
        self._begun = False

    def __len__(self) -> int:
        return len(self._entries)

    def admits(self, generation: Generation) -> bool:
        """Tell whether an answer may begin now, or must wait until others have ended.

        The first one begins in any case, since it will never have more time. A prompt waits until no other is being
        read: the engine reads one at a time, and the second may begin as the first.

        Raises:
            NotEnoughTime: It can't be whole before the deadline, not even alone.
        """
        meter, left_s = generation.meter, self._deadline.left_s()
        needed_s = self._pace.expected_s(meter.prompt_tokens, generation.max_tokens) if self._begun else 0.0
        if self._deadline.passed or needed_s > left_s:
            raise NotEnoughTime(left_s, needed_s)
        if not self._entries:
            return True
        if len(self._entries) >= self._slots or any(entry.prefilling for entry in self._entries):
            return False
        return self._has_room(generation) and self._in_time(generation, left_s)

    @contextmanager
    def beginning(self, generation: Generation) -> Iterator[_Entry]:
        """Count an answer among the running ones."""
        self._begun = True
        entry = _Entry(generation)
        self._entries.append(entry)
        try:
            yield entry
        finally:
            self._entries.remove(entry)

    def learn(self, entry: _Entry, timings: Mapping[str, Any]) -> None:
        """Let the pace know how an answer went."""
        if entry.single:
            self._pace.observe(timings, entry.at_once)

    def note_step(self) -> None:
        """Take note of who is there in a step."""
        for entry in self._entries:
            entry.note(len(self._entries))

    def _has_room(self, generation: Generation) -> bool:
        needs = [*(entry.tokens for entry in self._entries), generation.longest]
        return self._room is None or self._room.fits(needs)

    def _in_time(self, generation: Generation, left_s: float) -> bool:
        """Whether all would be whole in time, but those that won't be without this one either."""
        now = len(self._entries)
        expected_s = self._pace.expected_s
        pause_s = expected_s(generation.meter.prompt_tokens, 0)
        punctual = [entry.left for entry in self._entries if expected_s(0, entry.left, now) <= left_s]
        return pause_s + expected_s(0, max([*punctual, generation.max_tokens]), now + 1) <= left_s


class _Entry:
    """An answer on its way."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self.tokens = generation.longest  # its choices come one after the other
        self._steps = self._company = 0

    @property
    def single(self) -> bool:
        """Whether it is one choice: then its times are those of one prompt and its tokens."""
        return len(self._generation.tasks) == 1

    @property
    def prefilling(self) -> bool:
        """Whether its prompt is being read."""
        return self._generation.meter.first_token_at is None

    @property
    def left(self) -> int:
        """Tokens that it may still have."""
        return self._generation.max_tokens - self._generation.meter.completion_tokens

    @property
    def at_once(self) -> int:
        """How many were on their way while it decoded, on the average."""
        return round(self._company / self._steps) if self._steps else 1

    def note(self, running: int) -> None:
        """Take note of a step."""
        if not self.prefilling:
            self._steps += 1
            self._company += running
