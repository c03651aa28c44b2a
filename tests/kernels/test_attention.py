from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.conftest import ROOT
from tests.kernels.attention_models import attention_model, attributes, feeds, run, run_apart
from tests.kernels.attention_plain import Cache, Case, Floats, some_case
from tests.kernels.models import available, needs_library, session

pytestmark = needs_library
KINDS = ["float16", "int8"]
# Values have the size of 1. Over int8, queries and weights have 16 bits.
TOLERANCE = {"float16": 2e-5, "int8": 5e-4}


@st.composite
def steps(draw: st.DrawFn, kind: str) -> Case:
    """Steps of every shape: first prompts, continued ones, single tokens; sequences of different lengths."""
    tokens = draw(st.one_of(st.just(1), st.integers(1, 9), st.integers(1, 120)))
    pasts = draw(st.lists(st.one_of(st.just(0), st.integers(0, 20), st.integers(0, 900)), min_size=1, max_size=3))
    kv_heads, group = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    size = draw(st.sampled_from([16, 32, 48, 64, 80, 96, 112, 128, 256]))
    lengths = [past + tokens for past in pasts]
    room = max(lengths) + draw(st.integers(0, 3))
    norm, seed = draw(st.booleans()), draw(st.integers(0, 1000))
    features = {
        "window": draw(st.none() | st.integers(1, 200)),
        "softcap": draw(st.sampled_from([None, 1.5, 50.0])),
        "turned": draw(st.booleans()),
    }
    return some_case(kind, lengths, tokens, kv_heads * group, kv_heads, size, norm, room, seed, **features)


def assert_near(found: Floats, expected: Floats, kind: str) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[kind] * max(1, np.abs(expected).max()))


def assert_same(found: Cache, expected: Cache) -> None:
    for one, other in zip(found.arrays(), expected.arrays(), strict=True):
        np.testing.assert_array_equal(one, other)


# ---------------------------------------------------------------- what it computes


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(data=st.data(), threads=st.integers(1, 3))
def test_the_result_is_that_of_numpy(kind: str, data: st.DataObject, threads: int) -> None:
    case = data.draw(steps(kind))
    out, after = run(case, threads)
    assert_near(out, case.attend(after), kind)


def new_rows(case: Case, array: NDArray[Any]) -> NDArray[Any]:
    """What the cache holds of the new tokens, `(B, KV, S, …)`."""
    return np.stack([array[b, :, positions] for b, positions in enumerate(case.positions)]).swapaxes(1, 2)


@settings(max_examples=40)
@given(steps("float16"))
def test_new_keys_and_values_are_stored_as_the_nearest_halves(case: Case) -> None:
    _, after = run(case)
    for stored, right in zip(after.elements, case.split()[1:], strict=True):
        found = new_rows(case, stored).astype(np.float64)
        np.testing.assert_allclose(found, right, rtol=2**-10.9, atol=1e-6)


@settings(max_examples=40)
@given(steps("int8"))
def test_new_keys_and_values_are_stored_within_half_a_step(case: Case) -> None:
    _, after = run(case)
    for side, right in enumerate(case.split()[1:]):
        scale = new_rows(case, after.scales[side]).astype(np.float64)
        np.testing.assert_allclose(scale, np.abs(right).max(axis=-1) / 127, rtol=1e-5)
        values = new_rows(case, after.elements[side])
        assert (np.abs(values * scale[..., None] - right) <= 0.501 * scale[..., None]).all()
        assert (np.abs(values.astype(int)).max(axis=-1) == 127).all()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(data=st.data())
def test_nothing_but_the_new_tokens_is_written(kind: str, data: st.DataObject) -> None:
    case = data.draw(steps(kind))
    _, after = run(case)
    for before, now in zip(case.cache.arrays(), after.arrays(), strict=True):
        for sequence, positions in enumerate(case.positions):
            old = np.delete(before[sequence], positions, axis=1)
            np.testing.assert_array_equal(np.delete(now[sequence], positions, axis=1), old)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(data=st.data())
def test_a_present_of_its_own_gets_the_past(kind: str, data: st.DataObject) -> None:
    case = data.draw(steps(kind))
    before = case.cache.copy()
    (out, after), (expected, in_place) = run_apart(case), run(case)
    np.testing.assert_array_equal(out, expected)
    assert_same(after, in_place)
    assert_same(case.cache, before)


# ---------------------------------------------------------------- what must not matter


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(data=st.data())
def test_threads_change_no_bit(kind: str, data: st.DataObject) -> None:
    case = data.draw(steps(kind))
    out, after = run(case, 1)
    for threads in (2, 3):
        other, stored = run(case, threads)
        np.testing.assert_array_equal(other, out)
        assert_same(stored, after)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(data=st.data())
def test_the_other_sequences_change_no_bit(kind: str, data: st.DataObject) -> None:
    case = data.draw(steps(kind))
    out, _ = run(case, 2)
    for index in range(len(case.lengths)):
        np.testing.assert_array_equal(run(case.sequence(index))[0][0], out[index])


def in_pieces(case: Case, ends: list[int]) -> tuple[Floats, Cache]:
    cache, first, outs = case.cache, 0, []
    for end in ends:
        out, cache = run(case.part(first, end, cache), 2)
        outs.append(out)
        first = end
    return np.concatenate(outs, axis=1), cache


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ends", [list(range(1, 71)), [64, 70], [1, 33, 65, 70], [7, 14, 21, 70]])
def test_chunks_make_no_difference(kind: str, ends: list[int]) -> None:
    case = some_case(kind, [500, 70], 70, norm=True)
    (out, after), (pieces, stored) = run(case), in_pieces(case, ends)
    assert_same(stored, after)
    assert_near(pieces, out, kind)


# Chunks may be cut after whole blocks of 96 query rows if more than one block is left: see docs/kernels.md.
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("group", [1, 2, 3, 4, 7, 8, 96])
@settings(max_examples=6)
@given(data=st.data())
def test_whole_blocks_of_a_chunk_change_no_bit(kind: str, group: int, data: st.DataObject) -> None:
    block = max(1, 96 // group)
    tokens = data.draw(st.integers(2 * block + 1, 5 * block))
    past = data.draw(st.sampled_from([0, 1, 95, 383, 1500]))
    case = some_case(kind, [past + tokens], tokens, group, 1, 32, seed=data.draw(st.integers(0, 1000)))
    cuts = data.draw(
        st.sets(st.integers(2, (tokens - 1) // block - 1).map(lambda n: n * block))
        if tokens > 3 * block
        else st.just(set())
    )
    (out, after), (pieces, stored) = run(case, 2), in_pieces(case, [*sorted(cuts), tokens])
    assert_same(stored, after)
    np.testing.assert_array_equal(pieces, out)


@st.composite
def slotted(draw: st.DrawFn, kind: str, tokens: int) -> Case:
    """Single tokens, or a few, of sequences that lie anywhere in a larger cache."""
    places = draw(st.integers(1, 5))
    order = draw(st.permutations(range(places)))[: draw(st.integers(1, places))]
    pasts = [draw(st.one_of(st.integers(0, 20), st.integers(370, 400), st.integers(0, 900))) for _ in order]
    kv_heads, group = draw(st.integers(1, 3)), draw(st.sampled_from([1, 3, 4, 7, 32]))
    room, size = max(pasts) + tokens + draw(st.integers(0, 3)), draw(st.sampled_from([16, 64, 80, 128]))
    norm, seed = draw(st.booleans()), draw(st.integers(0, 1000))
    lengths = [past + tokens for past in pasts]
    whole = some_case(kind, [room] * places, tokens, kv_heads * group, kv_heads, size, norm, room, seed)
    slots = np.array(order, dtype=np.int32)
    return replace(whole, qkv=whole.qkv[: len(order)], lengths=np.array(lengths, dtype=np.int32), slots=slots)


def in_its_slot(case: Case, index: int, cache: Cache) -> Case:
    """The step of one sequence alone, in a cache with no other place."""
    assert case.slots is not None
    slot = int(case.slots[index])
    rows, one = cache.rows(slice(slot, slot + 1)), slice(index, index + 1)
    return replace(case, qkv=case.qkv[one], cache=rows, lengths=case.lengths[one], slots=None)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(data=st.data(), tokens=st.sampled_from([1, 1, 2, 40]))
def test_a_sequence_in_any_slot_is_as_if_alone(kind: str, data: st.DataObject, tokens: int) -> None:
    case = data.draw(slotted(kind, tokens))
    assert case.slots is not None
    out, after = run(case, 2)
    for index, slot in enumerate(case.slots):
        alone, stored = run(in_its_slot(case, index, case.cache))
        np.testing.assert_array_equal(alone[0], out[index])
        assert_same(after.rows(slice(slot, slot + 1)), stored)
    others = [slot for slot in range(len(case.cache.elements[0])) if slot not in case.slots]
    for before, now in zip(case.cache.arrays(), after.arrays(), strict=True):
        np.testing.assert_array_equal(before[others], now[others])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(data=st.data(), count=st.integers(2, 8))
def test_tokens_of_one_slot_at_once_are_those_of_one_after_the_other(
    kind: str, data: st.DataObject, count: int
) -> None:
    case = data.draw(slotted(kind, count))
    assert case.slots is not None
    rows = case.qkv.reshape(-1, 1, case.qkv.shape[2])
    lengths = np.concatenate([np.arange(length - count + 1, length + 1) for length in case.lengths]).astype(np.int32)
    at_once = replace(case, qkv=rows, lengths=lengths, slots=np.repeat(case.slots, count))
    out, after = run(at_once, 2)
    cache, outs = case.cache, []
    for token in range(count):
        one = replace(case, qkv=case.qkv[:, token : token + 1], lengths=case.lengths - count + 1 + token, cache=cache)
        found, cache = run(one)
        outs.append(found)
    np.testing.assert_array_equal(out.reshape(case.qkv.shape[0], count, -1), np.concatenate(outs, axis=1))
    assert_same(after, cache)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tokens", [1, 5, 300])
def test_long_contexts(kind: str, tokens: int) -> None:
    case = some_case(kind, [9000], tokens, heads=3, kv_heads=1, size=64)
    out, after = run(case, 2)
    assert_near(out, case.attend(after), kind)


def computed(isa: str, directory: Path) -> list[Floats]:
    code = (
        "import sys, numpy as np\n"
        "from tests.kernels.test_attention import some_cases\n"
        "from tests.kernels.attention_models import run\n"
        "results = [run(case, 2) for case in some_cases()]\n"
        "np.savez(sys.argv[1], *(a for out, cache in results for a in (out, *cache.arrays())))\n"
    )
    file = directory / f"{isa}.npz"
    environ = {**os.environ, "FIREBRICK_ISA": isa}
    subprocess.run([sys.executable, "-c", code, str(file)], cwd=ROOT, env=environ, check=True)
    with np.load(file) as arrays:
        return [arrays[name] for name in arrays.files]


def some_cases() -> list[Case]:
    """Cases for comparing instruction sets."""
    shapes: list[dict[str, Any]] = [
        {"lengths": [700, 3], "tokens": 1, "heads": 6, "kv_heads": 2, "size": 128},
        {"lengths": [40, 90], "tokens": 33, "heads": 4, "kv_heads": 1, "size": 80, "norm": True},
        {"lengths": [450], "tokens": 2, "heads": 8, "kv_heads": 8, "size": 48},
        {"lengths": [129], "tokens": 1, "heads": 7, "kv_heads": 1, "size": 256},
    ]
    return [some_case(kind, **shape) for kind in KINDS for shape in shapes]


@pytest.mark.parametrize("isa", [isa for isa in available() if isa != "portable"])
def test_instruction_sets_store_the_same_and_compute_nearly_so(isa: str, tmp_path: Path) -> None:
    for found, expected in zip(computed(isa, tmp_path), computed("portable", tmp_path), strict=True):
        if found.ndim == 3 and found.dtype == np.float32 and found.shape[-1] % 16 == 0:
            assert_near(found, expected, "float16")
        else:
            np.testing.assert_array_equal(found, expected)


def test_concurrent_runs_of_a_session_do_not_see_each_other() -> None:
    cases = [some_case("int8", [past + 1 + past % 7], 1 + past % 7, seed=past) for past in range(0, 900, 9)]
    expected = [run(case, 2)[0] for case in cases]
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(lambda case: run(case, 2)[0], cases), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_no_tokens_give_nothing() -> None:
    case = some_case("int8", [5], 0)
    out, after = run(case)
    assert out.shape == (1, 0, 6 * 32)
    assert_same(after, case.cache)


# ---------------------------------------------------------------- what is refused


def refused(case: Case) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011  onnxruntime's classes share no better base
        run_apart(case)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [-(2**31) + 1, -1, 0, 3, 11, 2**31 - 1])
def test_lengths_that_leave_the_cache_are_refused(kind: str, length: int) -> None:
    case = some_case(kind, [9, 9], 4, room=10)
    wrong = replace(case, lengths=np.array([9, length], dtype=np.int32))
    assert f"seqlens_k has {length - 1}: not from 4 new tokens to a cache of 10" in refused(wrong)


@pytest.mark.parametrize(
    ("slots", "lengths", "words"),
    [
        ([0, 2], [9, 9], "slots has 2: not from 0 to below the cache's 2"),
        ([-1, 0], [9, 9], "slots has -1: not from 0"),
        ([1], [9, 9], "slots is [1] instead of (2,)"),
        ([1, 1], [9, 9], "two sequences of slot 1 have new tokens at the same positions"),
        ([1, 1], [9, 6], "two sequences of slot 1 have new tokens at the same positions"),
    ],
)
def test_slots_that_cannot_be_are_refused(slots: list[int], lengths: list[int], words: str) -> None:
    case = some_case("int8", [9, 9], 4, room=12)
    case = replace(case, lengths=np.array(lengths, dtype=np.int32), slots=np.array(slots, dtype=np.int32))
    assert words in refused(case)


def test_positions_beyond_the_tables_are_refused() -> None:
    case = some_case("int8", [9], 4)
    assert "cos is [8, 16]: not at least 9 rows of 16" in refused(replace(case, angles=case.angles[:8]))


def test_tables_of_another_width_are_refused() -> None:
    case = some_case("float16", [9], 4)
    assert "not at least 9 rows of 16" in refused(replace(case, angles=case.angles[:, :8]))


def test_columns_that_do_not_fit_the_cache_are_refused() -> None:
    case = some_case("float16", [9], 4)
    assert "qkv has 319 columns instead of (6 + 2 · 2) · 32" in refused(replace(case, qkv=case.qkv[..., :-1]))


@pytest.mark.parametrize("size", [8, 24, 272])
def test_heads_of_another_size_are_refused(size: int) -> None:
    assert f"heads have {size} elements" in refused(some_case("int8", [9], 4, size=size))


def test_a_cache_of_another_batch_is_refused() -> None:
    case = some_case("float16", [9, 9], 4)
    assert "past_key is [1, 2, 11, 32]" in refused(replace(case, cache=case.cache.rows(slice(1))))


@pytest.mark.parametrize(("index", "name"), [(1, "input 2"), (2, "input 3"), (3, "input 4")])
def test_parts_of_a_cache_that_differ_are_refused(index: int, name: str) -> None:
    case = some_case("int8", [9], 4)
    arrays = list(case.cache.arrays())
    arrays[index] = arrays[index][:, :, :-1]
    cache = Cache((arrays[0], arrays[1]), (arrays[2], arrays[3]))
    assert name in refused(replace(case, cache=cache))


def test_one_norm_alone_is_refused() -> None:
    case = some_case("float16", [9], 4, norm=True)
    assert "one of q_norm and k_norm" in refused(replace(case, norms=case.norms[:1]))


def test_norms_of_another_size_are_refused() -> None:
    case = some_case("float16", [9], 4, norm=True)
    assert "q_norm is [16]" in refused(replace(case, norms=(case.norms[0][:16], case.norms[1])))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"num_heads": 0}, "attribute num_heads is 0"),
        ({"kv_num_heads": 7}, "attribute kv_num_heads is 7"),
        ({"kv_num_heads": 4}, "num_heads is 6, no multiple of kv_num_heads, 4"),
    ],
)
def test_attributes_that_cannot_be_are_refused(wrong: dict[str, int], words: str) -> None:
    case = some_case("int8", [9], 4)
    with pytest.raises(Exception, match=words):
        session(attention_model(case, {**attributes(case), **wrong}))


def test_a_missing_attribute_is_refused() -> None:
    case = some_case("int8", [9], 4)
    given_ = {name: given for name, given in attributes(case).items() if name != "epsilon"}
    with pytest.raises(Exception, match="epsilon"):
        session(attention_model(case, given_))


def test_lengths_for_another_batch_are_refused() -> None:
    case = some_case("int8", [9], 4)
    inputs = {**feeds(case), "seqlens_k": np.array([8, 8], dtype=np.int32)}
    with pytest.raises(Exception, match="seqlens_k is"):
        session(attention_model(case)).run(None, inputs)
