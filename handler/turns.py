"""Several generators in one thread: each is pulled until it waits, then one step brings all of them forward."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from contextlib import closing
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
Work = Callable[[], Generator[T | None, None, None]]


class Turns(Generic[K, T]):
    """Generators that give None where they can't go on without a step."""

    def __init__(self, step: Callable[[], None]) -> None:
        """Begin with none; `step` brings those that wait forward, all of them at once."""
        self._step = step
        self._chains: dict[K, Generator[T | None, None, None]] = {}

    def __len__(self) -> int:
        return len(self._chains)

    def add(self, key: K, work: Work[T]) -> None:
        """Take a generator in; it is made in its first turn."""
        self._chains[key] = _begin(work)

    def round(self, deliver: Callable[[K, T], None]) -> dict[K, Exception | None]:
        """Give every generator its turn, then make a step if any of them waits.

        Args:
            deliver: gets each item; what it raises ends the generator.

        Returns:
            which generators have ended, with what they raised or None.
        """
        ended: dict[K, Exception | None] = {}
        for key, chain in self._chains.items():
            try:
                if not _waits(key, chain, deliver):
                    ended[key] = None
            except Exception as error:
                ended[key] = error
        for key in ended:
            failure = _closed(self._chains.pop(key))
            ended[key] = ended[key] or failure
        if self._chains:
            try:
                self._step()
            except Exception as error:  # whose fault it is can't be told
                ended |= dict.fromkeys(self._chains, error)
                self.close()
        return ended

    def close(self) -> None:
        """End all generators."""
        for chain in self._chains.values():
            _closed(chain)
        self._chains.clear()


def stepped(items: Generator[T | None, None, None], step: Callable[[], None]) -> Generator[T, None, None]:
    """One generator by itself: its items, with a step wherever it waits."""
    with closing(items):
        for item in items:
            if item is None:
                step()
            else:
                yield item


def _begin(work: Work[T]) -> Generator[T | None, None, None]:
    with closing(work()) as items:
        yield from items


def _closed(chain: Generator[T | None, None, None]) -> Exception | None:
    """Close a generator; what goes wrong there is no reason to end the others."""
    try:
        chain.close()
    except Exception as error:
        return error
    return None


def _waits(key: K, chain: Generator[T | None, None, None], deliver: Callable[[K, T], None]) -> bool:
    """Deliver items until there are no more for now; tells whether there will be some."""
    for item in chain:
        if item is None:
            return True
        deliver(key, item)
    return False
