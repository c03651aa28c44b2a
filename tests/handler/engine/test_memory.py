"""What there is memory for, and that a slot gives back what it may not keep."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from handler.artefact import WEIGHTS, Artefact, load_artefact
from handler.engine.cache import allocate, give_back, token_bytes
from handler.engine.cancellation import Cancellation
from handler.engine.engine import Engine, EngineOptions
from handler.engine.memory import MOST_SLOTS, RESERVE, Room, memory_limit, memory_limits, plan_room
from handler.engine.sampling import SamplingParams
from handler.engine.slots import Slots
from model_export.convert import convert
from tests.handler.engine.test_threads import cgroup
from tests.kernels.models import LIBRARY, needs_library

GIB = 2**30


@pytest.fixture(scope="module")
def artefact(demo_artefact: Path) -> Artefact:
    return load_artefact(demo_artefact, "quick")


def of_3b(artefact: Artefact, context_length: int) -> Artefact:
    """Llama 3.2 3B's cache in int8."""
    return dataclasses.replace(
        artefact,
        kernels="native",
        kv_cache_dtype="int8",
        num_hidden_layers=28,
        num_key_value_heads=8,
        head_dim=128,
        context_length=context_length,
    )


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_a_token_takes_what_the_allocated_cache_says(artefact: Artefact, dtype: str) -> None:
    some = dataclasses.replace(artefact, kv_cache_dtype=dtype)
    assert token_bytes(some) * 7 == sum(array.nbytes for array in allocate(some, positions=7).values())


# ---------------------------------------------------------------- limits


def test_without_any_sign_there_is_nothing(tmp_path: Path) -> None:
    assert memory_limit({}, tmp_path) == 0


def test_lambda_says_its_megabytes(tmp_path: Path) -> None:
    assert memory_limits({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769"}, tmp_path) == {"Lambda memory size": 1769 * 2**20}


@pytest.mark.parametrize("bad", ["", "-1", "much", "1.5"])
def test_a_size_that_is_no_number_says_nothing(tmp_path: Path, bad: str) -> None:
    assert memory_limits({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": bad}, tmp_path) == {}


@pytest.mark.parametrize(
    ("line", "path"), [("0::/a/b", "a/memory.max"), ("4:memory:/a/b", "memory/a/memory.limit_in_bytes")]
)
def test_a_parents_cgroup_limit_counts(tmp_path: Path, line: str, path: str) -> None:
    root = cgroup(tmp_path, line)
    (root / "sys/fs/cgroup" / path).parent.mkdir(parents=True)
    (root / "sys/fs/cgroup" / path).write_text(f"{GIB}\n")
    assert memory_limits({}, root) == {"cgroup limit": GIB}


def test_a_cgroup_without_a_limit_says_nothing(tmp_path: Path) -> None:
    root = cgroup(tmp_path, "0::/a", a__memory_max="max")
    assert memory_limits({}, root) == {}


def test_the_smallest_counts(tmp_path: Path) -> None:
    root = cgroup(tmp_path, "0::/a", a__memory_max=str(3 * GIB))
    (root / "proc/meminfo").write_text("MemTotal:  8388608 kB\nMemAvailable:    2097152 kB\n")
    assert memory_limit({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "10240"}, root) == 2 * GIB


# ---------------------------------------------------------------- slots


def test_there_are_eight_slots_where_memory_has_room_for_whole_contexts(artefact: Artefact) -> None:
    room = plan_room(of_3b(artefact, 8192), 10 * GIB)
    assert (room.slots, room.kept) == (MOST_SLOTS, 8192)
    assert room.fits([8192] * 8)


def test_there_is_one_slot_where_memory_has_room_for_nothing(artefact: Artefact) -> None:
    assert plan_room(of_3b(artefact, 8192), 0) == Room(1, 0, 8192)


def test_a_few_slots_where_there_is_room_for_a_few(artefact: Artefact) -> None:
    some = of_3b(artefact, 8192)
    base = RESERVE + (artefact.directory / WEIGHTS).stat().st_size
    assert plan_room(some, base + token_bytes(some) * 4096 * 3).slots == 3


def test_what_was_asked_for_is_given_but_not_more_memory(artefact: Artefact) -> None:
    room = plan_room(of_3b(artefact, 8192), 3 * GIB, slots=20)
    assert room.slots == 20
    assert not room.fits([8192] * 20)


def test_stock_kernels_have_one_slot_for_a_step_takes_one_sequence(artefact: Artefact) -> None:
    assert plan_room(dataclasses.replace(artefact, kernels="stock", kv_cache_dtype="float32"), 10 * GIB).slots == 1


@pytest.mark.parametrize("limit", [2 * GIB, 4 * GIB, 10 * GIB])
def test_with_a_long_context_the_sum_is_bounded_whatever_slots_keep(artefact: Artefact, limit: int) -> None:
    some = of_3b(artefact, 131_072)
    room = plan_room(some, limit)
    assert 1 < room.slots <= MOST_SLOTS
    largest = max(need for need in range(0, 131_072, 64) if room.fits([need]))
    others = (room.slots - 1) * room.kept
    assert (largest + others) * token_bytes(some) <= limit - RESERVE
    assert largest > room.tokens / 2
    assert room.fits([room.kept] * room.slots)


# ---------------------------------------------------------------- giving back


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_what_is_given_back_is_the_end_of_one_slot(artefact: Artefact, dtype: str) -> None:
    cache = allocate(dataclasses.replace(artefact, kv_cache_dtype=dtype, context_length=4000), slots=2)
    for array in cache.values():
        array[:] = 1
    give_back(cache, 1, 100)
    for name, array in cache.items():
        assert np.all(array[0] == 1), name
        assert np.all(array[1, :, :100] == 1), name
        page = 4096 // array[1, 0, 0].nbytes  # what lies in a page with something that stays stays, too
        assert not np.any(array[1, :, 100 + page : -page]), name


def test_a_freed_slot_holds_no_more_than_it_may(artefact: Artefact) -> None:
    slots = Slots(artefact, 2, most_kept=20)
    slot, _ = slots.take(list(range(30)))
    slots.hold(slot, list(range(30)))
    slots.release(slot)
    assert slots.held(slot) == list(range(20))
    assert slots.take(list(range(30))) == (slot, 20)


@needs_library
def test_a_slot_that_gave_back_gives_the_same_tokens(demo_artefact: Path, tmp_path: Path) -> None:
    convert(demo_artefact, tmp_path / "native", "native", "int8")
    engine = Engine.load(load_artefact(tmp_path / "native", "quick"), 2, EngineOptions(most_kept=20), LIBRARY)

    def answer() -> list[tuple[int, int]]:
        tokens = engine.generate(list(range(5, 300)), SamplingParams(temperature=0), 20, (), Cancellation())
        return [(token.id, token.cached_tokens) for token in tokens]

    first, second = answer(), answer()
    assert [id for id, _ in first] == [id for id, _ in second]
    assert {cached for _, cached in first} == {0}
    assert {cached for _, cached in second} == {20}
