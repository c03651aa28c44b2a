"""A real constraint: sets of tokens that come in turn, some of one token only."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from handler.artefact import load_artefact
from handler.engine.cancellation import Cancellation
from handler.engine.costs import Costs
from handler.engine.engine import MOST_ROWS, Engine, EngineOptions
from handler.engine.sampling import SamplingParams
from handler.engine.sequence import Token
from tests.kernels.models import LIBRARY, needs_library

pytestmark = needs_library
GREEDY = SamplingParams(temperature=0)
EVEN, ODD = range(100, 1000, 2), range(101, 1000, 2)


class Cycle:
    """Tokens of one set after the other, and round again."""

    def __init__(self, vocab_size: int, *sets: Collection[int]) -> None:
        self._vocab_size = vocab_size
        self._sets = sets
        self._at = 0

    def _set(self, ahead: int = 0) -> Collection[int]:
        return self._sets[(self._at + ahead) % len(self._sets)]

    ended = False

    def prepare(self) -> None:
        pass

    def fitting(self, tokens: Sequence[int]) -> int:
        return sum(1 for _ in itertools.takewhile(lambda n: tokens[n] in self._set(n), range(len(tokens))))

    def allowed(self) -> NDArray[np.uint8]:
        mask = np.zeros(self._vocab_size, dtype=np.bool_)
        mask[list(self._set())] = True
        return np.packbits(mask, bitorder="little")

    def forced(self) -> Sequence[int]:
        ahead = itertools.takewhile(lambda n: len(self._set(n)) == 1, range(100))
        return [next(iter(self._set(n))) for n in ahead]

    def advance(self, token: int) -> None:
        assert token in self._set()
        self._at += 1


@pytest.fixture(scope="module")
def engine(native_artefact: Path) -> Engine:
    return Engine.load(load_artefact(native_artefact, "quick"), 2, EngineOptions(keep_prefixes=False), LIBRARY)


def constrained(
    engine: Engine,
    *sets: Collection[int],
    params: SamplingParams = GREEDY,
    count: int = 20,
    prompt: Sequence[int] = (9,),
) -> list[Token]:
    cycle = Cycle(engine.vocab_size, *sets)
    return list(engine.generate(prompt, params, count, {2, 6}, Cancellation(), cycle))


def rows(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of each step from now on."""
    counted: list[int] = []
    run = engine.steps.run

    def counting(slots: Sequence[int], *rest: object) -> object:
        counted.append(len(slots))
        return run(slots, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.steps, "run", counting)
    return counted


@pytest.mark.parametrize("params", [GREEDY, SamplingParams(temperature=1.5, seed=1)])
def test_only_what_is_allowed_comes(engine: Engine, params: SamplingParams) -> None:
    tokens = constrained(engine, EVEN, ODD, params=params)
    assert [token.id in (EVEN, ODD)[n % 2] for n, token in enumerate(tokens)] == [True] * 20


def test_a_bias_cannot_make_a_forbidden_token_come(engine: Engine) -> None:
    tokens = constrained(engine, EVEN, params=SamplingParams(temperature=0, logit_bias={101: 100.0}))
    assert all(token.id in EVEN for token in tokens)


def test_a_stop_id_that_is_not_allowed_does_not_come(engine: Engine) -> None:
    bias = {2: 100.0, 6: 100.0}
    assert len(constrained(engine, EVEN, params=SamplingParams(temperature=0, logit_bias=bias))) == 20


def test_a_stop_id_that_is_forced_ends_the_answer(engine: Engine) -> None:
    assert len(constrained(engine, EVEN, ODD, {300}, {6})) == 3


def test_forced_tokens_come_in_one_step(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = rows(engine, monkeypatch)
    forced = [{200 + n} for n in range(10)]
    tokens = constrained(engine, EVEN, *forced, count=22)
    assert [token.id for token in tokens[1:11]] == [token.id for token in tokens[12:]] == list(range(200, 210))
    assert counted[1] == 11
    assert len(counted) == 3  # the prompt, and each token that has a choice with what is forced behind it


def test_many_forced_tokens_come_in_several_steps(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = rows(engine, monkeypatch)
    tokens = constrained(engine, EVEN, *[{200 + n} for n in range(40)], count=41)
    assert [token.id for token in tokens[1:]] == list(range(200, 240))
    assert max(counted) == MOST_ROWS


def test_forced_tokens_end_with_max_tokens(engine: Engine) -> None:
    assert [token.id for token in constrained(engine, {200}, {201}, {202}, count=8)] == [200, 201, 202] * 2 + [200, 201]


def test_the_first_token_may_be_forced(engine: Engine) -> None:
    assert constrained(engine, {200}, EVEN)[0].id == 200


def test_log_probabilities_remain_the_models_own(engine: Engine) -> None:
    params = SamplingParams(temperature=0, top_logprobs=engine.vocab_size)
    tokens = constrained(engine, EVEN, {200}, {201}, ODD, params=params, count=12)
    ids = [9, *(token.id for token in tokens)]
    for n, token in enumerate(tokens):
        (free,) = engine.generate(ids[: n + 1], params, 1, (), Cancellation())
        expected, found = dict(free.top_logprobs), dict(token.top_logprobs)
        assert sum(map(np.exp, found.values())) == pytest.approx(1, abs=1e-5)
        assert found[token.id] == token.logprob
        likely = [id for id in expected if expected[id] > -12]
        assert max(abs(found[id] - expected[id]) for id in likely) < 0.5  # the prompt was run in one, here it wasn't


def test_a_guess_that_is_forbidden_is_never_accepted(
    engine: Engine, native_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine's steps may be worth no guess.
    monkeypatch.setattr(engine, "_costs", Costs())
    monkeypatch.setattr(Costs, "note", lambda self, rows, seconds: None)
    counted = rows(engine, monkeypatch)
    prompt = [200, 202, 204, 206] * 10  # what is looked up here is allowed every other time only
    found = constrained(engine, EVEN, ODD, EVEN, prompt=prompt, count=60)
    assert max(counted) > 1
    assert all(token.id in (EVEN, ODD, EVEN)[n % 3] for n, token in enumerate(found))
    options = EngineOptions(keep_prefixes=False, lookup=False)
    plain = Engine.load(load_artefact(native_artefact, "quick"), 2, options, LIBRARY)
    assert found == constrained(plain, EVEN, ODD, EVEN, prompt=prompt, count=60)


def test_what_is_forced_is_no_success_of_the_drafter(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    observed: list[tuple[int, int]] = []
    monkeypatch.setattr(
        "handler.engine.drafting.PromptLookup.observe", lambda self, tokens, *counts: observed.append(counts)
    )
    constrained(engine, {200}, {201}, {202}, count=9)
    assert set(observed) == {(0, 0)}


def test_stock_kernels_take_a_constraint_too(demo_artefact: Path) -> None:
    engine = Engine.load(load_artefact(demo_artefact, "quick"), 2, EngineOptions())
    tokens = constrained(engine, EVEN, {201}, {203}, count=9)
    assert [token.id in (EVEN, {201}, {203})[n % 3] for n, token in enumerate(tokens)] == [True] * 9


def test_an_error_in_mid_run_comes_after_what_was_chosen_and_once(engine: Engine) -> None:
    class Breaks(Cycle):
        def advance(self, token: int) -> None:
            super().advance(token)
            if token == 203:
                raise RuntimeError("no more grammar")

    cycle = Breaks(engine.vocab_size, EVEN, {201}, {203}, {205})
    answer = engine.answer([9], GREEDY, 20, (), Cancellation(), cycle)
    found: list[int] = []

    def pull() -> None:
        for token in answer:
            found.extend([token.id] if token is not None else [])
            engine.step()  # more often than it must

    with pytest.raises(RuntimeError, match="no more grammar"):
        pull()
    assert found[1:] == [201]
    assert engine.slots.free == 1
