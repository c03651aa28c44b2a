"""Vectors of texts: what a plain computation pools, however a text is cut and whoever is beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from handler.artefact import Artefact, Embeddings, load_artefact
from handler.engine.cancellation import Cancellation
from handler.engine.embedding import Embedded
from handler.engine.engine import Engine, EngineOptions
from handler.engine.sampling import SamplingParams
from handler.engine.sequence import Token
from handler.errors import ArtefactDamaged, Cancelled
from handler.turns import Turns, stepped
from model_export import reference
from model_export.convert import convert
from model_export.reading import read_artefact
from model_export.stored import StoredWeights
from tests.kernels.models import LIBRARY, needs_library

GREEDY = SamplingParams(temperature=0)
Pooled = NDArray[np.float32]


def described(directory: Path, pooling: Any) -> Artefact:
    """The artefact as if it had been exported for another pooling: the graph is the same."""
    artefact = load_artefact(directory, "quick")
    assert artefact.embeddings is not None
    return dataclasses.replace(artefact, embeddings=dataclasses.replace(artefact.embeddings, pooling=pooling))


def load(directory: Path, pooling: str = "mean", **options: Any) -> Engine:
    return Engine.load(described(directory, pooling), 2, EngineOptions(**options), LIBRARY)


def embed(engine: Engine, ids: Sequence[int]) -> Embedded:
    (item,) = stepped(engine.embed(ids, Cancellation()), engine.step)
    return item


def some_ids(length: int, seed: int = 0) -> list[int]:
    return [int(id) for id in np.random.default_rng(seed).integers(8, 2048, length)]


@pytest.fixture(scope="module")
def f16(demo_artefact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("f16") / "artefact"
    convert(demo_artefact, out, "native", "f16")
    return out


@pytest.fixture(params=["stock", "native int8", "native f16"])
def directory(request: pytest.FixtureRequest) -> Path:
    """The demo model for each kind of kernels and cache."""
    if request.param == "stock":
        return Path(request.getfixturevalue("demo_artefact"))
    if not LIBRARY.exists():
        pytest.skip("no native kernels")
    return Path(request.getfixturevalue("native_artefact" if request.param == "native int8" else "f16"))


def plain_states(directory: Path, ids: Sequence[int]) -> NDArray[np.float32]:
    read = read_artefact(directory)
    stored = StoredWeights(read)
    lookup: Callable[[str], Any] = lambda name: stored.weight(name) if name in stored.planned else None  # noqa: E731
    return reference.hidden_states(read.config, lookup, np.array(ids, dtype=np.int64))


def cosine(a: Pooled, b: Pooled) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_a_vector_is_what_the_plain_computation_pools(directory: Path, pooling: str) -> None:
    ids = some_ids(75)
    states = plain_states(directory, ids)
    expected = states.mean(axis=0) if pooling == "mean" else states[-1]
    found = embed(load(directory, pooling), ids).vector
    assert found.dtype == np.float32
    assert cosine(found, expected) > 0.999  # activations and cache are rounded
    assert cosine(found, states[0]) < 0.9


def test_one_token_is_enough(directory: Path) -> None:
    last, mean = (embed(load(directory, pooling), [9]).vector for pooling in ("last", "mean"))
    np.testing.assert_array_equal(last, mean)


@needs_library
@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 300), chunk=st.sampled_from([96, 192, 256]), pooling=st.sampled_from(["mean", "last"]))
def test_a_text_in_chunks_is_the_whole(native_artefact: Path, length: int, chunk: int, pooling: str) -> None:
    ids = some_ids(length)
    whole = embed(load(native_artefact, pooling, prefill_chunk=512), ids)
    cut = embed(load(native_artefact, pooling, prefill_chunk=chunk), ids)
    assert cosine(cut.vector, whole.vector) > 0.9999  # a chunk of another length is rounded otherwise


@needs_library
def test_a_whole_context_is_a_text_too(native_artefact: Path) -> None:
    engine = load(native_artefact)
    assert np.isfinite(embed(engine, some_ids(engine.context_length)).vector).all()


@needs_library
@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_texts_side_by_side_with_answers_are_as_alone(native_artefact: Path, pooling: str) -> None:
    options = {"prefill_chunk": 96, "keep_prefixes": False}
    engine, alone = load(native_artefact, pooling, slots=4, **options), load(native_artefact, pooling, **options)
    texts = [some_ids(length, seed=length) for length in (1, 40, 200)]
    prompt = some_ids(50, seed=50)
    turns: Turns[int, Token | Embedded] = Turns(engine.step)
    items: dict[int, list[Any]] = {key: [] for key in range(4)}
    turns.add(3, lambda: engine.answer(prompt, GREEDY, 30, (), Cancellation()))
    for key, ids in enumerate(texts):
        turns.add(key, lambda ids=ids: engine.embed(ids, Cancellation()))  # type: ignore[misc]
    while turns:
        ended = turns.round(lambda key, item: items[key].append(item))
        assert set(ended.values()) <= {None}
    for key, ids in enumerate(texts):
        np.testing.assert_array_equal(items[key][0].vector, embed(alone, ids).vector)
    assert items[3] == list(alone.generate(prompt, GREEDY, 30, (), Cancellation()))
    assert engine.slots.free == 4


def test_a_mean_reads_all_of_a_text_that_the_cache_holds(directory: Path) -> None:
    ids, engine = some_ids(60), load(directory)
    first, again = embed(engine, ids), embed(engine, ids)
    assert (first.cached_tokens, again.cached_tokens) == (0, 0)
    np.testing.assert_array_equal(again.vector, first.vector)


def test_the_last_state_needs_only_what_the_cache_does_not_hold(directory: Path) -> None:
    ids, engine = some_ids(60), load(directory, "last")
    first, again = embed(engine, ids), embed(engine, ids)
    assert (first.cached_tokens, again.cached_tokens) == (0, 59)
    assert cosine(again.vector, first.vector) > 0.9999


def test_a_slot_says_truly_what_it_holds_after_a_text(directory: Path) -> None:
    ids, engine = some_ids(60), load(directory)
    fresh = list(load(directory).generate(ids, GREEDY, 8, (), Cancellation()))
    embed(engine, ids)
    tokens = list(engine.generate(ids, GREEDY, 8, (), Cancellation()))
    assert tokens[0].cached_tokens == 59
    assert [token.id for token in tokens] == [token.id for token in fresh]


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_cancelled_text_gives_its_slot_back(directory: Path, steps: int) -> None:
    ids, engine, cancellation = some_ids(200), load(directory, prefill_chunk=64), Cancellation()
    items = engine.embed(ids, cancellation)
    assert next(items) is None
    for _ in range(steps):
        engine.step()
    assert list(engine.slots.held(0)) == ids[: 64 * steps]
    cancellation.cancel()
    with pytest.raises(Cancelled):
        next(items)
    assert engine.slots.free == 1
    np.testing.assert_array_equal(embed(engine, ids).vector, embed(load(directory, prefill_chunk=64), ids).vector)


def test_an_interrupted_part_is_run_again(directory: Path) -> None:
    ids, engine, other = some_ids(100), load(directory), Cancellation()
    expected = embed(engine, ids)
    items = engine.embed(ids, Cancellation())
    assert next(items) is None
    other.cancel()
    engine._answers[0].cancellation = other  # the step is interrupted, and then the text goes on
    engine.step()
    engine._answers[0].cancellation = Cancellation()
    assert next(iter(stepped(items, engine.step))).vector.tolist() == expected.vector.tolist()


@pytest.mark.parametrize("ids", [[], [-1], [2048], [9] * 2049])
def test_ids_that_cannot_be_are_a_bug_of_the_caller(demo_artefact: Path, ids: list[int]) -> None:
    with pytest.raises(ValueError, match="token"):
        next(load(demo_artefact).embed(ids, Cancellation()))


def test_what_was_not_exported_for_it_gives_none(demo_artefact: Path) -> None:
    artefact = dataclasses.replace(load_artefact(demo_artefact, "quick"), embeddings=None)
    with pytest.raises(ValueError, match="embeddings"):
        next(Engine.load(artefact, 1, None, LIBRARY).embed([9], Cancellation()))


def test_a_graph_without_hidden_states_is_refused_at_the_start(demo_artefact: Path, tmp_path: Path) -> None:
    convert(demo_artefact, tmp_path / "text", "stock", embeddings="none")
    artefact = load_artefact(tmp_path / "text", "quick")
    assert artefact.embeddings is None
    with pytest.raises(ArtefactDamaged, match="hidden states"):
        Engine.load(dataclasses.replace(artefact, embeddings=Embeddings("mean", 128)), 1, None, LIBRARY)
