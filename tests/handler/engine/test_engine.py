from __future__ import annotations

import collections
import itertools
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.artefact import load_artefact
from handler.engine.cancellation import Cancellation
from handler.engine.engine import Engine, EngineOptions
from handler.engine.sampling import SamplingParams
from handler.errors import ArtefactDamaged, Cancelled
from model_export import reference
from model_export.checkpoint import Checkpoint
from model_export.config import load_config
from model_export.export import export
from model_export.options import ExportOptions
from model_export.source import Source
from model_export.weights import plan

GREEDY = SamplingParams(temperature=0)
NAME = "llama-gqa2-bf16"
PROMPT = [5, 77, 130, 9, 300, 41, 8]


@pytest.fixture(scope="module")
def directory(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("engine") / "artefact"
    export(Source(checkpoints / NAME, NAME, None), out, ExportOptions(quantization="none"))
    return out


def load(directory: Path, prefill_chunk: int = 256) -> Engine:
    return Engine.load(load_artefact(directory, "quick"), 2, EngineOptions(prefill_chunk))


@pytest.fixture(scope="module")
def engine(directory: Path) -> Engine:
    return load(directory)


def ids(engine: Engine, prompt: list[int], count: int, params: SamplingParams = GREEDY, **others: Any) -> list[int]:
    stop = others.get("stop_ids", ())
    return [token.id for token in engine.generate(prompt, params, count, stop, others.get("with_", Cancellation()))]


def test_greedy_tokens_are_those_of_the_plain_computation(engine: Engine, checkpoints: Path) -> None:
    config = load_config(checkpoints / NAME)
    options = ExportOptions(quantization="none")
    weights = {w.name: w.rows for w in plan(config, options, Checkpoint.open(checkpoints / NAME, config))}

    def weight(name: str) -> Any:
        return weights[name].read(0, weights[name].shape[0]) if name in weights else None

    sequence = list(PROMPT)
    for _ in range(12):
        sequence.append(int(reference.logits(config, weight, np.array(sequence))[-1].argmax()))
    assert ids(engine, PROMPT, 12) == sequence[len(PROMPT) :]


@settings(deadline=None, max_examples=20)
@given(chunk=st.integers(1, 40), length=st.integers(1, 40))
def test_no_chunk_size_changes_the_tokens(directory: Path, chunk: int, length: int) -> None:
    prompt = np.random.default_rng(length).integers(0, 320, length).tolist()
    assert ids(load(directory, chunk), prompt, 4) == ids(load(directory), prompt, 4)


def test_one_answer_leaves_nothing_behind_for_the_next(engine: Engine) -> None:
    alone = ids(engine, PROMPT, 8)
    ids(engine, list(range(100)), 8)
    assert ids(engine, PROMPT, 8) == alone


def test_no_more_than_max_tokens_come(engine: Engine) -> None:
    assert len(ids(engine, PROMPT, 5)) == 5


def test_a_stop_id_ends_the_answer_and_is_not_given_out(engine: Engine) -> None:
    free = ids(engine, PROMPT, 8)
    at = next(i for i, token in enumerate(free) if token not in free[:i] and i > 2)
    assert ids(engine, PROMPT, 8, stop_ids={free[at]}) == free[:at]


def test_the_context_can_be_filled_to_its_last_position(engine: Engine) -> None:
    assert len(ids(engine, [7] * (engine.context_length - 3), 3)) == 3


@pytest.mark.parametrize(("prompt", "count"), [([], 1), ([1], 0), ([1] * 512, 1), ([-1], 1), ([320], 1)])
def test_what_does_not_fit_is_a_bug_of_the_caller(engine: Engine, prompt: list[int], count: int) -> None:
    with pytest.raises(ValueError, match="token"):
        ids(engine, prompt, count)


def test_the_same_seed_gives_the_same_answer(engine: Engine) -> None:
    answers = [ids(engine, PROMPT, 12, SamplingParams(temperature=1.5, seed=s)) for s in (3, 3, 4)]
    assert answers[0] == answers[1] != answers[2]


def test_log_probabilities_come_with_the_tokens(engine: Engine) -> None:
    params = SamplingParams(temperature=0, top_logprobs=3)
    for token in engine.generate(PROMPT, params, 4, (), Cancellation()):
        assert token.top_logprobs[0] == (token.id, token.logprob)
        assert len(token.top_logprobs) == 3


def test_no_log_probabilities_unless_asked_for(engine: Engine) -> None:
    (token,) = engine.generate(PROMPT, GREEDY, 1, (), Cancellation())
    assert (token.logprob, token.top_logprobs) == (None, ())


def test_what_is_cancelled_before_it_starts_makes_no_token(engine: Engine) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        ids(engine, PROMPT, 4, with_=cancellation)


def test_what_is_cancelled_between_two_tokens_makes_no_further_one(engine: Engine) -> None:
    cancellation = Cancellation()
    tokens = engine.generate(PROMPT, GREEDY, 100, (), cancellation)
    assert len(list(itertools.islice(tokens, 3))) == 3
    cancellation.cancel()
    with pytest.raises(Cancelled):
        next(tokens)


def test_a_prefill_is_cancelled_from_another_thread(directory: Path) -> None:
    engine = load(directory, prefill_chunk=1)
    cancellation = Cancellation()
    threading.Timer(0.01, cancellation.cancel).start()
    with pytest.raises(Cancelled):
        collections.deque(ids(engine, [3] * 500, 1, with_=cancellation) for _ in range(1000))
    assert ids(engine, PROMPT, 4) == ids(load(directory), PROMPT, 4)


def test_closing_the_generator_frees_the_engine(engine: Engine) -> None:
    tokens = engine.generate(PROMPT, GREEDY, 100, (), Cancellation())
    next(tokens)
    tokens.close()
    assert len(ids(engine, PROMPT, 2)) == 2


def test_warming_up_changes_no_answer(directory: Path) -> None:
    engine = load(directory)
    cold = ids(engine, PROMPT, 4)
    engine.warm_up()
    assert ids(engine, PROMPT, 4) == cold


def test_warming_up_takes_no_longer_than_it_may(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load(directory)
    cold = ids(engine, PROMPT, 4)
    monkeypatch.setattr("handler.engine.engine.WARM_UP_S", 0)  # ends in the middle of the token, or before it
    engine.warm_up()
    assert ids(engine, PROMPT, 4) == cold


def test_two_engines_live_side_by_side(directory: Path, demo_artefact: Path) -> None:
    first, second = load(directory), load(demo_artefact)
    tokens = first.generate(PROMPT, GREEDY, 6, (), Cancellation())
    mixed = []
    for token in tokens:
        mixed.append(token.id)
        ids(second, [1, 2, 3], 2)
    assert mixed == ids(first, PROMPT, 6)


def test_a_graph_that_onnxruntime_refuses_is_one_error(directory: Path, tmp_path: Path) -> None:
    from handler.engine.session import create_session

    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ArtefactDamaged, match=r"model\.onnx can't be loaded"):
        create_session(tmp_path / "model.onnx", 1)


def test_a_run_leaves_the_threads_arithmetic_as_it_was(engine: Engine) -> None:
    ids(engine, PROMPT, 2)
    assert np.float32(1e-40) / np.float32(2) > 0  # denormal numbers aren't flushed to zero


def test_nothing_ends_an_answer_before_its_least_tokens(demo_artefact: Path) -> None:
    engine = Engine.load(load_artefact(demo_artefact, "quick"), 2)
    unlike = {2: -100.0, 6: -100.0}  # the demo's ends of a text
    free = SamplingParams(temperature=0, logit_bias=unlike)
    usual = [token.id for token in engine.generate(PROMPT, free, 12, (), Cancellation())]
    stops = {usual[2]}
    expected = usual[: usual.index(usual[2])]
    assert [token.id for token in engine.generate(PROMPT, free, 12, stops, Cancellation())] == expected
    longer = SamplingParams(temperature=0, logit_bias=unlike, min_tokens=6)
    tokens = [token.id for token in engine.generate(PROMPT, longer, 12, stops, Cancellation())]
    assert len(tokens) >= 6
    assert stops.isdisjoint(tokens)
