"""The cache's slots: what each holds, who has it now, and what of it a new prompt can use."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from handler.artefact import Artefact
from handler.engine.cache import allocate, give_back

Arrays = Mapping[str, NDArray[Any]]
LEAST = 16  # tokens that are worth it: what was asked before can change how a prompt's numbers are rounded
LITTLE = 64  # tokens: a template may write the end of an answer otherwise than the model did


class Prefix(Protocol):
    """Keys and values that were computed before, such as those of a file."""

    @property
    def ids(self) -> Sequence[int]:
        """Of the tokens that they belong to."""
        ...

    @property
    def arrays(self) -> Arrays:
        """As a slot's, with only so many positions: `{layer}.{part}` → `(num_key_value_heads, positions, …)`."""
        ...


class Slots:
    """Places for sequences in the cache; a freed one keeps what it holds until somebody needs the place.

    Attributes:
        cache: `{layer}.{part}` → `(slots, num_key_value_heads, positions, head_dim)`.
        count: how many there are.
    """

    def __init__(
        self,
        artefact: Artefact,
        count: int = 1,
        keep: bool = True,
        prefixes: Sequence[Prefix] = (),
        most_kept: int | None = None,
    ) -> None:
        """Allocate them; their pages cost no memory until they are written.

        Args:
            artefact: names the cache's dtype and shape.
            count: how many sequences there can be at a time.
            keep: whether a prompt may use what a slot still holds.
            prefixes: what prompts may begin with, whatever the slots hold.
            most_kept: tokens that a freed slot may hold at most; None for all.
        """
        self.cache: Arrays = allocate(artefact, count)
        self.count = count
        self._keep = keep
        self._most_kept = artefact.context_length if most_kept is None else most_kept
        self._prefixes = tuple(prefixes)
        self._held: list[Sequence[int]] = [()] * count
        self._free = dict.fromkeys(range(count))  # least recently used first

    @property
    def free(self) -> int:
        """How many nobody has."""
        return len(self._free)

    def held(self, slot: int) -> Sequence[int]:
        """Ids of the tokens whose keys and values a slot holds."""
        return self._held[slot]

    def arrays(self, slot: int) -> Arrays:
        """A slot's part of the cache: `{layer}.{part}` → `(num_key_value_heads, positions, …)`."""
        return {name: array[slot] for name, array in self.cache.items()}

    def take(self, ids: Sequence[int], whole: bool = False) -> tuple[int, int]:
        """Take a free slot for a prompt.

        The tokens that it has in common with the beginning of what some slot holds, or of a prefix, are in the slot
        then. If the best slot is free and would lose little, it is the one: a chat goes on. Else it is the slot that
        was least recently used, and they are copied there: another chat begins alike.

        Args:
            ids: of the prompt.
            whole: whether the logits behind it are known, so that not even its last token need be run.

        Returns:
            the slot, and how many of the prompt's tokens it holds: all only if `whole`, for the last one gives logits.

        Raises:
            LookupError: none is free; that is a bug of the caller.
        """
        if not self._free:
            raise LookupError(f"all {self.count} slots are taken")
        oldest = next(iter(self._free))
        best, cached = self._best(ids, whole)
        prefix, length = self._best_prefix(ids)
        if prefix is not None and length > cached:
            slot, cached = oldest, length
            self._copy(prefix.arrays, slot, cached)
        elif best in self._free and self._loses_little(best, cached):
            slot = best
        else:
            slot = oldest
            if slot != best:
                self._copy(self.arrays(best), slot, cached)
        del self._free[slot]
        self._held[slot] = ids[:cached]
        return slot, cached

    def look_again(self, slot: int, ids: Sequence[int], whole: bool = False) -> int:
        """Before the first token of a prompt is run: others may hold more of it by now than when it took its slot.

        Args:
            slot: the prompt's.
            ids: of the prompt.
            whole: as for `take`.

        Returns:
            how many of its tokens the slot holds now.
        """
        best, cached = self._best(ids, whole)
        if cached > len(self._held[slot]):
            self._copy(self.arrays(best), slot, cached)
            self._held[slot] = ids[:cached]
        return len(self._held[slot])

    def hold(self, slot: int, ids: Sequence[int]) -> None:
        """Say what a taken slot holds now."""
        self._held[slot] = ids

    def release(self, slot: int) -> None:
        """Give a slot back; it still holds what it holds, as far as it may."""
        if len(self._held[slot]) > self._most_kept:
            self._held[slot] = self._held[slot][: self._most_kept]
            give_back(self.cache, slot, self._most_kept)
        self._free[slot] = None

    def _best(self, ids: Sequence[int], whole: bool) -> tuple[int, int]:
        """The slot that holds the most of a prompt, and how much; among equals one that is free, the oldest."""
        taken = (slot for slot in range(self.count) if slot not in self._free)
        order = (*self._free, *taken)
        commons = {slot: common(self._held[slot], ids) if self._keep else 0 for slot in order}
        best = max(order, key=lambda slot: commons[slot])
        cached = min(commons[best], len(ids) if whole else len(ids) - 1)
        return best, cached if cached >= LEAST else 0

    def _best_prefix(self, ids: Sequence[int]) -> tuple[Prefix | None, int]:
        lengths = {min(common(prefix.ids, ids), len(ids) - 1): prefix for prefix in self._prefixes if self._keep}
        worth = {length for length, prefix in lengths.items() if length >= min(LEAST, len(prefix.ids))}
        longest = max(worth, default=0)
        return lengths.get(longest), longest

    def _loses_little(self, slot: int, cached: int) -> bool:
        held = len(self._held[slot])
        return held - cached <= max(LITTLE, held // 8)

    def _copy(self, arrays: Arrays, slot: int, positions: int) -> None:
        """Copy the first positions of arrays that are as a slot's."""
        for name, array in arrays.items() if positions else ():
            self.cache[name][slot, :, :positions] = array[:, :positions]


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many ids two sequences begin with alike."""
    length = min(len(a), len(b))
    if list(a[:length]) == list(b[:length]):
        return length
    return next(itertools.compress(itertools.count(), map(int.__ne__, a, b)))
