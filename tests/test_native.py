"""Native artefacts, whole: export, session and engine together, against plain numpy and against the stock kernels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from handler.artefact import load_artefact
from handler.engine.cancellation import Cancellation
from handler.engine.engine import Engine, EngineOptions
from handler.engine.sampling import ALL_EXACT, Sampler, SamplingParams
from handler.engine.weights import Weights
from handler.errors import ArtefactDamaged, KernelsMissing
from model_export.convert import convert
from model_export.verify import log_softmax
from model_export.verify import main as verify
from tests.configs import CONFIGS
from tests.kernels.models import LIBRARY, needs_library
from tests.model_export.helpers import Graph, artefact_logits, difference, export_to, some_ids

pytestmark = needs_library
CACHES = ["f16", "int8"]
# What int8 activations, and an int8 cache with them, may do to a small random model's logits.
TOLERANCE = {"f16": 0.05, "int8": 0.08}


@pytest.fixture(scope="module")
def artefacts(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with every configuration for stock kernels and for native ones with both caches."""
    directory = tmp_path_factory.mktemp("artefacts")
    for name in CONFIGS:
        export_to(checkpoints / name, directory / name / "stock")
        for cache in CACHES:
            convert(directory / name / "stock", directory / name / cache, "native", cache)  # type: ignore[arg-type]
    return directory


def whole(artefact: Path, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    return Graph(artefact, positions=len(ids)).run(ids[None, :], [len(ids)])


# ---------------------------------------------------------------- logits


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("length", [1, 2, 41])
def test_logits_are_near_those_of_the_dequantized_weights(
    name: str, cache: str, length: int, artefacts: Path, checkpoints: Path
) -> None:
    ids, artefact = some_ids(length, CONFIGS[name]["vocab_size"]), artefacts / name / cache
    expected = artefact_logits(checkpoints / name, artefact, ids)
    assert difference(whole(artefact, ids), expected) < TOLERANCE[cache]


@pytest.mark.parametrize("name", CONFIGS)
def test_native_is_no_worse_than_stock(name: str, artefacts: Path, checkpoints: Path) -> None:
    ids = some_ids(48, CONFIGS[name]["vocab_size"])
    exact = log_softmax(artefact_logits(checkpoints / name, artefacts / name / "stock", ids))

    def divergence(kind: str) -> float:
        found = log_softmax(whole(artefacts / name / kind, ids))
        return float((np.exp(exact) * (exact - found)).sum(axis=1).mean())

    assert divergence("f16") < 1.5 * divergence("stock")
    assert divergence("int8") < 2 * divergence("stock")


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("name", CONFIGS)
def test_verify_finds_nothing_wrong(
    name: str, cache: str, artefacts: Path, checkpoints: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify([str(artefacts / name / cache), "--against", str(checkpoints / name)]) == 0
    assert "graph      ok" in capsys.readouterr().out


# ---------------------------------------------------------------- the cache


@pytest.mark.parametrize("cache", CACHES)
@settings(max_examples=25)
@given(data=st.data())
def test_any_chunking_is_the_whole(cache: str, data: st.DataObject, artefacts: Path) -> None:
    artefact = artefacts / data.draw(st.sampled_from(sorted(CONFIGS))) / cache
    length = data.draw(st.integers(1, 60))
    ids = some_ids(length, 300, seed=data.draw(st.integers(0, 9)))
    cuts = data.draw(st.sets(st.integers(1, length), max_size=6)) - {length}
    graph = Graph(artefact, positions=64)
    pieces = [graph.run(ids[None, a:b], [b]) for a, b in itertools.pairwise([0, *sorted(cuts), length])]
    # Where there is AMX, 48 rows and more are multiplied in bf16, fewer in int8.
    assert difference(np.concatenate(pieces), whole(artefact, ids)) < 0.04


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("name", CONFIGS)
def test_token_by_token_is_the_whole(name: str, cache: str, artefacts: Path) -> None:
    artefact = artefacts / name / cache
    ids, graph = some_ids(20, 300), Graph(artefact)
    steps = [graph.run(ids[None, i : i + 1], [i + 1]) for i in range(20)]
    assert difference(np.concatenate(steps), whole(artefact, ids)) < 0.02


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("name", ["llama-gqa2-bf16", "llama-padded-heads", "qwen3-padded-heads"])
def test_sequences_of_different_lengths_do_not_see_each_other(name: str, cache: str, artefacts: Path) -> None:
    artefact, lengths, longest = artefacts / name / cache, [5, 12, 9], 12
    alone = [some_ids(length + 1, 300, seed=length) for length in lengths]
    padded = np.zeros((3, longest), dtype=np.int64)
    for row, ids in zip(padded, alone, strict=True):
        row[: len(ids) - 1] = ids[:-1]
    graph = Graph(artefact, batch=3, positions=20)
    last = [row * longest + length - 1 for row, length in enumerate(lengths)]
    graph.run(padded, [longest] * 3, last)
    decode = graph.run(np.stack([ids[-1:] for ids in alone]), [length + 1 for length in lengths])
    for found, ids in zip(decode, alone, strict=True):
        assert difference(found, whole(artefact, ids)[-1]) < 0.02


# ---------------------------------------------------------------- the engine


@pytest.fixture(scope="module")
def demo(demo_artefact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the demo model for stock kernels and for native ones with both caches."""
    directory = tmp_path_factory.mktemp("demo")
    for cache in CACHES:
        convert(demo_artefact, directory / cache, "native", cache)  # type: ignore[arg-type]
    (directory / "stock").symlink_to(demo_artefact)
    return directory


def answers(directory: Path, prompts: list[list[int]], chunk: int = 256, threads: int = 2) -> Iterator[list[int]]:
    engine = Engine.load(load_artefact(directory, "quick"), threads, EngineOptions(chunk, keep_prefixes=False), LIBRARY)
    for prompt in prompts:
        tokens = engine.generate(prompt, SamplingParams(temperature=0), 24, (), Cancellation())
        yield [token.id for token in tokens]


def test_greedy_answers_are_those_of_exact_logits(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(answers(demo / "int8", PROMPTS))
    monkeypatch.setattr(Sampler, "choice", ALL_EXACT)
    assert found == list(answers(demo / "int8", PROMPTS))


def test_the_likeliest_token_of_many_hidden_states_is_that_of_exact_logits(demo: Path) -> None:
    engine = Engine.load(load_artefact(demo / "int8", "quick"), 2, EngineOptions(), LIBRARY)
    coarse, states = 0, 0
    for seed in range(8):
        ids = np.random.default_rng(seed).integers(0, engine.vocab_size, (1, 250))
        exact = engine.steps.run([0], ids, [0], range(250)).copy()
        found = engine.steps.run([0], ids, [0], range(250), choices=[(0.0, 0.0, 1.0, 0.0)] * 250)
        np.testing.assert_array_equal(found.argmax(axis=1), exact.argmax(axis=1))
        coarse, states = coarse + int((found != exact).any(axis=1).sum()), states + 250
    assert coarse > 0.5 * states  # else nothing was left out


PROMPTS = [np.random.default_rng(seed).integers(0, 1000, 5 + 7 * seed).tolist() for seed in range(8)]


@pytest.mark.parametrize("cache", CACHES)
def test_greedy_answers_begin_as_the_stock_kernels_do(cache: str, demo: Path) -> None:
    pairs = zip(answers(demo / "stock", PROMPTS), answers(demo / cache, PROMPTS), strict=True)
    common = [list(map(int.__eq__, a, b)) for a, b in pairs]
    assert np.mean([row[0] for row in common]) >= 0.75
    assert np.mean([np.mean(row) for row in common]) >= 0.4


@pytest.mark.parametrize("cache", CACHES)
def test_one_answer_leaves_nothing_behind_for_the_next(cache: str, demo: Path) -> None:
    first, _, again = answers(demo / cache, [PROMPTS[2], PROMPTS[7], PROMPTS[2]])
    assert first == again


@pytest.mark.parametrize("cache", CACHES)
def test_threads_change_no_answer(cache: str, demo: Path) -> None:
    assert list(answers(demo / cache, PROMPTS, threads=1)) == list(answers(demo / cache, PROMPTS, threads=3))


def test_the_context_can_be_filled_to_its_last_position(demo: Path) -> None:
    engine = Engine.load(load_artefact(demo / "f16", "quick"), 2, kernels=LIBRARY)
    prompt: list[Any] = [7] * (engine.context_length - 3)
    assert len(list(engine.generate(prompt, SamplingParams(temperature=0), 3, (), Cancellation()))) == 3


@pytest.mark.parametrize("cache", CACHES)
def test_weights_that_are_mapped_already_give_the_same_answers(cache: str, demo: Path) -> None:
    weights = Weights(demo / cache / "model.safetensors")
    engine = Engine.load(load_artefact(demo / cache, "quick"), 2, kernels=LIBRARY, weights=weights)
    del weights
    tokens = [engine.generate(prompt, SamplingParams(temperature=0), 24, (), Cancellation()) for prompt in PROMPTS]
    assert [[token.id for token in each] for each in tokens] == list(answers(demo / cache, PROMPTS))


@pytest.mark.parametrize("name", CONFIGS)
def test_weights_of_every_configuration_can_be_mapped(name: str, artefacts: Path) -> None:
    weights = Weights(artefacts / name / "int8" / "model.safetensors")
    engine = Engine.load(load_artefact(artefacts / name / "int8", "quick"), 1, kernels=LIBRARY, weights=weights)
    assert len(list(engine.generate([1, 2, 3], SamplingParams(temperature=0), 3, (), Cancellation()))) == 3


def test_weights_that_are_mapped_already_are_not_mapped_again(demo: Path) -> None:
    weights = Weights(demo / "int8" / "model.safetensors")
    before = Path("/proc/self/maps").read_text().count("model.safetensors")
    engine = Engine.load(load_artefact(demo / "int8", "quick"), 1, kernels=LIBRARY, weights=weights)
    assert Path("/proc/self/maps").read_text().count("model.safetensors") == before
    del engine


def test_weights_that_are_mapped_off_their_lines_are_refused(demo: Path, tmp_path: Path) -> None:
    content = (demo / "int8" / "model.safetensors").read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    moved = (end - 8 + 4).to_bytes(8, "little") + content[8:end] + b" " * 4 + content[end:]
    (tmp_path / "moved").write_bytes(moved)
    with pytest.raises(ArtefactDamaged, match="aligned to 64 bytes"):
        Engine.load(load_artefact(demo / "int8", "quick"), 1, kernels=LIBRARY, weights=Weights(tmp_path / "moved"))


def test_without_the_library_nothing_starts(demo: Path, tmp_path: Path) -> None:
    with pytest.raises(KernelsMissing):
        Engine.load(load_artefact(demo / "f16", "quick"), 1, kernels=tmp_path / "none.so")
