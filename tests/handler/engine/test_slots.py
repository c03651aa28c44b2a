from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from handler.artefact import Artefact, load_artefact
from handler.engine.slots import LEAST, LITTLE, Slots, common

LONG = 3 * LITTLE


@pytest.fixture(scope="module")
def artefact(demo_artefact: Path) -> Artefact:
    return replace(
        load_artefact(demo_artefact, "quick"),
        kv_cache_dtype="int8",
        num_hidden_layers=2,
        num_key_value_heads=3,
        head_dim=16,
        context_length=512,
    )


@dataclass(frozen=True)
class Stored:
    """A prefix whose arrays have one value everywhere."""

    ids: Sequence[int]
    arrays: dict[str, NDArray[Any]]


def stored(slots: Slots, ids: Sequence[int], value: int) -> Stored:
    shapes = {name: (array.shape[1], len(ids), *array.shape[3:]) for name, array in slots.cache.items()}
    return Stored(ids, {name: np.full(shapes[name], value, slots.cache[name].dtype) for name in shapes})


def write(slots: Slots, slot: int, ids: Sequence[int]) -> None:
    """Put into the cache what can be told apart: each position has its token's id, modulo 100."""
    values = np.array(ids) % 100
    for array in slots.cache.values():
        array[slot, :, : len(ids)] = values[:, None] if array.ndim == 4 else values


def written(slots: Slots, slot: int, count: int) -> list[int]:
    """What the cache has, which must be the same in all of its arrays."""
    rows = [array[slot, head, :count] for array in slots.cache.values() for head in range(array.shape[1])]
    columns = {tuple((row if row.ndim == 1 else row[:, -1]).astype(int).tolist()) for row in rows}
    (one,) = columns
    return list(one)


def use(slots: Slots, ids: Sequence[int]) -> int:
    """A whole answer: take, write, give back."""
    slot, cached = slots.take(ids)
    assert written(slots, slot, cached) == [id % 100 for id in ids[:cached]]
    write(slots, slot, ids)
    slots.hold(slot, list(ids))
    slots.release(slot)
    return slot


def run(start: int, count: int) -> list[int]:
    return list(range(start, start + count))


def test_an_empty_cache_has_nothing(artefact: Artefact) -> None:
    slots = Slots(artefact, 2)
    assert slots.take([1, 2, 3]) == (0, 0)
    assert slots.free == 1


def test_a_longer_prompt_goes_on_in_the_slot_that_has_its_beginning(artefact: Artefact) -> None:
    slots = Slots(artefact, 3)
    chats = [run(1000 * n, LONG) for n in (1, 2, 3)]
    places = [use(slots, chat) for chat in chats]
    assert slots.take([*chats[1], 7, 8]) == (places[1], LONG)


def test_the_longest_common_beginning_wins(artefact: Artefact) -> None:
    slots = Slots(artefact, 3)
    for end in (100, 150, 120):
        use(slots, [*run(0, end), *run(5000 + end, 80)])
    _, cached = slots.take(run(0, 300))
    assert cached == 150


def test_a_prompt_is_never_found_whole(artefact: Artefact) -> None:
    slots = Slots(artefact, 1)
    slot = use(slots, run(0, 50))
    assert slots.take(run(0, 50)) == (slot, 49)


def test_a_prompt_shorter_than_what_a_slot_holds_is_never_found_whole(artefact: Artefact) -> None:
    slots = Slots(artefact, 1)
    slot = use(slots, run(0, 50))
    assert slots.take(run(0, 20)) == (slot, 19)
    assert list(slots.held(slot)) == run(0, 19)


def test_a_prompt_of_one_token_is_never_found(artefact: Artefact) -> None:
    slots = Slots(artefact, 1)
    use(slots, [5])
    assert slots.take([5]) == (0, 0)


def test_a_slot_that_would_lose_much_is_copied(artefact: Artefact) -> None:
    slots = Slots(artefact, 2)
    first = use(slots, run(0, LONG))
    slot, cached = slots.take([*run(0, 50), 900])
    assert (slot != first, cached) == (True, 50)
    assert written(slots, slot, 50) == written(slots, first, 50)
    assert list(slots.held(first)) == run(0, LONG)


def test_a_slot_that_would_lose_little_is_used_in_place(artefact: Artefact) -> None:
    slots = Slots(artefact, 2)
    first = use(slots, run(0, LONG))
    assert slots.take([*run(0, LONG - LITTLE), 900]) == (first, LONG - LITTLE)


def test_a_taken_slot_is_copied_even_where_it_would_lose_little(artefact: Artefact) -> None:
    slots = Slots(artefact, 2)
    first = use(slots, run(0, 50))
    assert slots.take(run(0, 60)) == (first, 50)
    write(slots, first, [*run(0, 50), *run(70, 10)])  # its own answer goes on
    slot, cached = slots.take(run(0, 60))
    assert (slot != first, cached) == (True, 50)
    assert written(slots, slot, cached) == run(0, 50)


def test_what_a_taken_slot_had_not_at_first_is_not_counted_on(artefact: Artefact) -> None:
    slots = Slots(artefact, 2)
    slots.take(run(0, 60))
    assert slots.take(run(0, 60))[1] == 0


@pytest.mark.parametrize("beginning", [0, 10], ids=["nothing-in-common", "a-template's-beginning-in-common"])
def test_the_least_recently_used_slot_gives_way(artefact: Artefact, beginning: int) -> None:
    slots = Slots(artefact, 3)
    places = [use(slots, [*run(0, beginning), *run(1000 * n, LONG)]) for n in range(1, 10)]
    assert places == [0, 1, 2] * 3


def test_an_empty_slot_is_used_before_another_gives_way(artefact: Artefact) -> None:
    slots = Slots(artefact, 4)
    assert {use(slots, run(1000 * n, LONG)) for n in range(4)} == {0, 1, 2, 3}


def test_the_only_free_slot_gives_way_and_keeps_what_is_common(artefact: Artefact) -> None:
    slots = Slots(artefact, 1)
    use(slots, run(0, LONG))
    slot, cached = slots.take([*run(0, 50), 900])
    assert (slot, cached) == (0, 50)
    assert written(slots, slot, 50) == run(0, 50)


def test_what_is_used_again_is_not_the_next_to_give_way(artefact: Artefact) -> None:
    slots = Slots(artefact, 2)
    chats = [run(1000 * n, LONG) for n in (1, 2)]
    first, second = (use(slots, chat) for chat in chats)
    use(slots, chats[0])
    assert use(slots, run(9000, LONG)) == second
    assert slots.take([*chats[0], 1]) == (first, LONG)


def test_without_keeping_nothing_is_found(artefact: Artefact) -> None:
    slots = Slots(artefact, 2, keep=False)
    use(slots, run(0, LONG))
    assert [slots.take(run(0, LONG))[1] for _ in range(2)] == [0, 0]


def test_none_free_is_a_bug_of_the_caller(artefact: Artefact) -> None:
    slots = Slots(artefact, 1)
    slots.take([1])
    with pytest.raises(LookupError, match="1 slots"):
        slots.take([1])


# ---------------------------------------------------------------- prefixes that were computed before


def with_prefixes(artefact: Artefact, count: int, *prefixes: tuple[Sequence[int], int], keep: bool = True) -> Slots:
    made = [stored(Slots(artefact, 1), ids, value) for ids, value in prefixes]
    return Slots(artefact, count, keep, made)


def test_a_prefix_is_copied(artefact: Artefact) -> None:
    slots = with_prefixes(artefact, 2, (run(0, 40), 7))
    slot, cached = slots.take(run(0, 60))
    assert cached == 40
    assert written(slots, slot, 41) == [7] * 40 + [0]


def test_the_longest_of_several_prefixes_is_copied(artefact: Artefact) -> None:
    slots = with_prefixes(artefact, 1, (run(0, 30), 7), (run(0, 40), 8), ([*run(0, 35), *run(500, 100)], 9))
    slot, cached = slots.take(run(0, 60))
    assert (cached, written(slots, slot, cached)) == (40, [8] * 40)


def test_a_slot_that_has_more_wins_over_a_prefix(artefact: Artefact) -> None:
    slots = with_prefixes(artefact, 2, (run(0, 40), 7))
    first, _ = slots.take(run(0, 50))
    write(slots, first, run(0, 50))
    slots.hold(first, run(0, 50))
    slots.release(first)
    assert slots.take(run(0, 60)) == (first, 50)


def test_a_prefix_is_no_whole_prompt_either(artefact: Artefact) -> None:
    slots = with_prefixes(artefact, 1, (run(0, 40), 7))
    assert slots.take(run(0, 40))[1] == 39


def test_a_prefix_of_which_nothing_is_common_is_left(artefact: Artefact) -> None:
    slots = with_prefixes(artefact, 1, (run(100, 40), 7))
    assert slots.take(run(0, 40))[1] == 0
    assert written(slots, 0, 5) == [0] * 5


def test_without_keeping_no_prefix_is_used(artefact: Artefact) -> None:
    slots = with_prefixes(artefact, 1, (run(0, 40), 7), keep=False)
    assert slots.take(run(0, 60))[1] == 0


@pytest.mark.parametrize(
    ("a", "b", "count"), [([], [1], 0), ([1, 2], [1, 2, 3], 2), ([1, 2, 3], [1, 9, 3], 1), ([4], [5], 0), ([], [], 0)]
)
def test_what_is_common(a: list[int], b: list[int], count: int) -> None:
    assert common(a, b) == common(tuple(b), a) == count


def test_what_is_hardly_anything_is_not_used(artefact: Artefact) -> None:
    slots = Slots(artefact, 1)
    slots.take(list(range(100)))
    slots.hold(0, list(range(100)))
    slots.release(0)
    assert slots.take([*range(LEAST - 1), 900, 901]) == (0, 0)


def test_before_a_prompt_is_read_others_may_hold_more_of_it(artefact: Artefact) -> None:
    slots, ids = Slots(artefact, 2), list(range(50))
    first, second = slots.take(ids)[0], slots.take([*ids, 7])[0]
    for array in slots.cache.values():
        array[first] = 5
    slots.hold(first, ids)
    assert slots.look_again(second, [*ids, 7]) == 50
    assert all((array[second, :, :50] == 5).all() and not array[second, :, 50:].any() for array in slots.cache.values())
