"""Several generators in one thread: each is pulled until it waits, then one step brings all of them forward."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterable, Sequence, Set
from contextlib import ExitStack, closing
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


def side_by_side(
    works: Sequence[tuple[Hashable, Work[T]]], at_once: Callable[[], int]
) -> Generator[tuple[int, T] | None, None, None]:
    """Several generators as one, a few of them at a time, in their order.

    Args:
        works: Each with its group. Of a group the first runs without the others until it has given something: they
            can use what it has found.
        at_once: How many may run now; at least one does.

    Yields:
        Which one, and its item; None where none of those that run can go on without a step.
    """
    waiting, begun = dict(enumerate(works)), set[Hashable]()
    running: dict[int, Generator[T | None, None, None]] = {}
    stuck: set[int] = set()  # those that wait for a step
    try:
        while waiting or running:
            while len(running) < max(1, at_once()) and (index := _next(works, waiting, running, begun)) is not None:
                running[index] = _begin(waiting.pop(index)[1])
            free = [index for index in running if index not in stuck]
            if not free:
                stuck.clear()
                yield None
            for index in free:
                stuck.add(index)
                for item in running[index]:
                    if item is None:
                        break
                    begun.add(works[index][0])
                    yield index, item
                else:
                    del running[index]
    finally:
        with ExitStack() as closed:
            for chain in running.values():
                closed.callback(chain.close)


def _next(
    works: Sequence[tuple[Hashable, Work[T]]], waiting: Iterable[int], running: Iterable[int], begun: Set[Hashable]
) -> int | None:
    """Which may run now: the first whose group has none that others wait for."""
    alone = {works[index][0] for index in running} - begun
    return next((index for index in waiting if works[index][0] not in alone), None)


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
