"""Scores of a prompt's tokens: the same as asking for each token what comes behind those before it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from handler.artefact import load_artefact
from handler.engine.cancellation import Cancellation
from handler.engine.engine import Engine, EngineOptions
from handler.engine.sampling import SamplingParams, log_probabilities
from handler.engine.sequence import Token
from handler.errors import Cancelled
from handler.turns import Turns, stepped
from tests.kernels.models import LIBRARY, needs_library

pytestmark = needs_library
GREEDY = SamplingParams(temperature=0, top_logprobs=2)


def load(directory: Path, **options: bool | int) -> Engine:
    return Engine.load(load_artefact(directory, "quick"), 2, EngineOptions(slots=2, **options), LIBRARY)  # type: ignore[arg-type]


def prompt(length: int) -> list[int]:
    ids: list[int] = np.random.default_rng(length).integers(8, 2048, length).tolist()
    return ids


def scored(engine: Engine, ids: list[int]) -> list[Token]:
    return list(stepped(engine.score(ids, 2, Cancellation()), engine.step))


@pytest.mark.parametrize(("kind", "near"), [("native_artefact", 0.0), ("demo_artefact", 5e-2)])
def test_scores_are_those_of_the_plain_path(kind: str, near: float, request: pytest.FixtureRequest) -> None:
    engine = load(request.getfixturevalue(kind))
    ids = prompt(144)  # three blocks of the native attention, which are the parts
    tokens = scored(engine, ids)
    assert [token.id for token in tokens] == ids[1:]
    column = np.array([ids], dtype=np.int64)
    logits = engine.steps.run([0], column, [0], range(len(ids))).copy()
    for token, row in zip(tokens, logits, strict=False):
        logprob, top = log_probabilities(row, token.id, 2)
        assert token.logprob == pytest.approx(logprob, abs=near)
        assert dict(token.top_logprobs) == pytest.approx(dict(top), abs=near)


def test_one_token_has_no_scores(native_artefact: Path) -> None:
    assert scored(load(native_artefact), [9]) == []


def test_no_more_rows_of_logits_than_fit_what_all_share(native_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, rows = load(native_artefact), []
    run = engine.steps.run

    def counting(*arguments: object) -> object:
        rows.append(len(arguments[3]))  # type: ignore[arg-type]
        return run(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.steps, "run", counting)
    scored(engine, prompt(150))
    assert sum(rows) == 150
    assert 32 < max(rows) <= 64


def test_what_was_scored_is_kept_for_the_answer(native_artefact: Path) -> None:
    engine, ids = load(native_artefact), prompt(100)
    scored(engine, ids)
    answer = list(engine.generate(ids, GREEDY, 5, (), Cancellation()))
    assert answer[0].cached_tokens == 100
    assert [token.id for token in answer] == [
        token.id for token in load(native_artefact).generate(ids, GREEDY, 5, (), Cancellation())
    ]


def test_a_cached_prompt_is_run_again_for_its_scores(native_artefact: Path) -> None:
    engine, ids = load(native_artefact), prompt(100)
    fresh = scored(engine, ids)
    assert scored(engine, ids) == fresh


def test_it_takes_turns_with_answers(native_artefact: Path) -> None:
    engine = load(native_artefact)
    alone = [token.id for token in load(native_artefact).generate([9, 10, 11], GREEDY, 30, (), Cancellation())]
    turns: Turns[str, Token] = Turns(engine.step)
    got: dict[str, list[int]] = {"answer": [], "score": []}
    turns.add("answer", lambda: engine.answer([9, 10, 11], GREEDY, 30, (), Cancellation()))
    turns.add("score", lambda: engine.score(prompt(200), 0, Cancellation()))
    while turns:
        turns.round(lambda key, token: got[key].append(token.id))
    assert got == {"answer": alone, "score": prompt(200)[1:]}


def test_a_cancellation_ends_it_and_frees_the_slot(native_artefact: Path) -> None:
    engine, cancellation = load(native_artefact), Cancellation()
    scores = engine.score(prompt(200), 0, cancellation)
    next(scores)
    cancellation.cancel()
    with pytest.raises(Cancelled):
        next(scores)
    assert engine.slots.free == 2
