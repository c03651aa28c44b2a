from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from handler.artefact import load_artefact
from handler.engine.cancellation import Cancellation
from handler.engine.drafting import Drafter, NoDrafter
from handler.engine.engine import Engine, EngineOptions
from handler.engine.sampling import ALL_EXACT, Sampler, SamplingParams
from handler.engine.sequence import Answer
from tests.kernels.models import LIBRARY, needs_library

VOCAB = 6
GREEDY = SamplingParams(temperature=0)
# What follows each of six tokens, (6, 6): a model that looks at the latest token only.
LOGITS = np.random.default_rng(5).normal(0, 1.5, (VOCAB, VOCAB)).astype(np.float32)


class Anything:
    """A grammar that takes any token."""

    ended = False

    def forced(self) -> Sequence[int]:
        return ()

    def allowed(self) -> NDArray[np.uint8]:
        return np.full(1, 255, dtype=np.uint8)

    def prepare(self) -> None:
        pass

    def fitting(self, tokens: Sequence[int]) -> int:
        return len(tokens)

    def advance(self, token: int) -> None:
        pass


class Says:
    """Guesses what it was told to, and remembers what came of it."""

    chance = 1.0

    def __init__(self, *guess: int) -> None:
        self.guesses = guess
        self.observed: list[tuple[list[int], int, int]] = []

    def guess(self, most: int) -> Sequence[int]:
        return self.guesses[: max(0, most)]

    def observe(self, tokens: Sequence[int], guessed: int, right: int) -> None:
        self.observed.append((list(tokens), guessed, right))


def answer(
    drafter: Drafter,
    params: SamplingParams = GREEDY,
    max_tokens: int = 50,
    stop_ids: Sequence[int] = (),
    prompt: Sequence[int] = (0, 1),
) -> Answer:
    sampler = Sampler(params, prompt, VOCAB)
    return Answer(prompt, 0, 0, sampler, params, max_tokens, stop_ids, Cancellation(), drafter, None)


def logits(*tokens: int) -> NDArray[np.float32]:
    """Rows whose likeliest tokens are these."""
    return np.eye(VOCAB, dtype=np.float32)[list(tokens)]


def ready(answer: Answer) -> list[int]:
    return [token.id for token in answer.ready]


def begun(drafter: Drafter, most: int = 3, max_tokens: int = 50, stop_ids: Sequence[int] = ()) -> Answer:
    """An answer whose first token, 2, has come, and which has guessed."""
    made = answer(drafter, max_tokens=max_tokens, stop_ids=stop_ids)
    made.accept(logits(2))
    made.next_ids(most, 0)
    return made


def test_a_prompt_is_prefilled_and_then_its_answer_decodes() -> None:
    made = answer(NoDrafter())
    assert (made.prefilling, made.decoding) == (True, False)
    made.position = 2
    assert (made.prefilling, made.decoding) == (False, True)
    made.accept(logits(2))
    assert made.next_ids(3, 0) == [2]
    assert made.position == 2


def test_rows_are_accepted_as_long_as_guesses_are_right() -> None:
    made = begun(drafter := Says(3, 4, 5))
    made.accept(logits(3, 4, 1, 0))
    assert ready(made) == [2, 3, 4, 1]
    assert drafter.observed[-1] == ([3, 4, 1], 3, 2)


def test_where_the_first_guess_is_wrong_one_token_comes() -> None:
    made = begun(drafter := Says(3, 4, 5))
    made.accept(logits(0, 4, 5, 1))
    assert ready(made) == [2, 0]
    assert drafter.observed[-1] == ([0], 3, 0)


def test_where_all_guesses_are_right_one_more_token_comes() -> None:
    made = begun(drafter := Says(3, 4, 5))
    made.accept(logits(3, 4, 5, 1))
    assert ready(made) == [2, 3, 4, 5, 1]
    assert drafter.observed[-1] == ([3, 4, 5, 1], 3, 3)


@pytest.mark.parametrize(("rows", "held"), [((0, 0, 0, 0), 3), ((3, 0, 0, 0), 4), ((3, 4, 5, 0), 6)])
def test_the_cache_holds_all_but_the_latest_token(rows: tuple[int, ...], held: int) -> None:
    made = begun(Says(3, 4, 5))
    made.accept(logits(*rows))
    assert made.position == held == len(made.ids) - 1


def test_no_more_is_guessed_than_may_come() -> None:
    made = answer(Says(3, 4, 5), max_tokens=3)
    made.accept(logits(2))
    assert made.next_ids(3, 0) == [2, 3]


def test_max_tokens_is_reached_inside_a_run_of_guesses() -> None:
    made = begun(Says(3, 4, 5), max_tokens=4)
    made.accept(logits(3, 4, 5))
    assert ready(made) == [2, 3, 4, 5]
    assert made.ended
    assert not made.decoding


def test_a_stop_id_inside_a_run_of_guesses_ends_the_answer() -> None:
    made = begun(Says(3, 4, 5), stop_ids=[4])
    made.accept(logits(3, 4, 5, 1))
    assert ready(made) == [2, 3]
    assert made.ended
    assert made.ids[: made.position] == [0, 1, 2, 3]


def test_a_stop_id_may_be_the_first_token() -> None:
    made = answer(NoDrafter(), stop_ids=[2])
    made.position = 2
    made.accept(logits(2))
    assert ready(made) == []
    assert made.ended
    assert (made.prefilling, made.decoding) == (False, False)


def test_penalties_count_what_was_accepted_before_in_the_same_run() -> None:
    params = SamplingParams(temperature=0, presence_penalty=0.7)
    made = answer(Says(3, 3, 3), params)
    made.accept(logits(2))
    made.next_ids(3, 0)
    made.accept(logits(3, 3, 3, 3) + np.float32(0.5) * logits(4, 4, 4, 4))
    assert ready(made) == [2, 3, 4]


# ---------------------------------------------------------------- temperature


def generated(drafter: Drafter, params: SamplingParams, count: int, most: int = 3) -> list[int]:
    """Let the model of `LOGITS` answer."""
    made = answer(drafter, params, max_tokens=count)
    made.accept(LOGITS[made.ids[-1:]])
    while not made.ended:
        made.accept(LOGITS[made.next_ids(most, 0)])
    return ready(made)


SAMPLINGS = [
    SamplingParams(temperature=1.0),
    SamplingParams(temperature=0.7, top_p=0.9),
    SamplingParams(temperature=1.3, top_k=4, presence_penalty=0.6),
    SamplingParams(temperature=1.0, repetition_penalty=1.2, logit_bias={3: 1.0}),
]


def seeded(params: SamplingParams, seed: int) -> SamplingParams:
    return SamplingParams(**{**params.__dict__, "seed": seed})


@pytest.mark.parametrize("params", SAMPLINGS)
def test_a_seed_gives_the_same_tokens_whatever_is_guessed(params: SamplingParams) -> None:
    for seed in range(100):
        plain = generated(NoDrafter(), seeded(params, seed), 12)
        assert generated(Says(*plain[2:5]), seeded(params, seed), 12) == plain
        assert generated(Says(3, 0, 1), seeded(params, seed), 12) == plain


def test_logits_are_exact_for_a_grammar_and_until_an_answer_may_end() -> None:
    assert begun(NoDrafter()).choice == (0.0, 0.0, 1.0, 0.0)
    assert answer(NoDrafter(), SamplingParams(temperature=0, min_tokens=3)).choice == ALL_EXACT
    bound = Answer([0], 0, 0, Sampler(GREEDY, [0], VOCAB), GREEDY, 9, (), Cancellation(), NoDrafter(), Anything())
    assert bound.choice == ALL_EXACT


def chi_square(counts: Counter[int], expected: NDArray[np.float64]) -> float:
    total = sum(counts.values())
    return float(sum((counts[id] - total * p) ** 2 / (total * p) for id, p in enumerate(expected)))


def test_guesses_leave_the_distribution_as_it_is() -> None:
    transition = np.exp(LOGITS.astype(np.float64))
    transition /= transition.sum(axis=1, keepdims=True)
    likeliest = [int(LOGITS[1].argmax())]
    for _ in range(3):
        likeliest.append(int(LOGITS[likeliest[-1]].argmax()))
    answers = [generated(Says(*likeliest[1:]), SamplingParams(seed=seed), 4) for seed in range(3000)]
    for place in range(4):
        expected = np.linalg.matrix_power(transition, place + 1)[1]
        counts = Counter(tokens[place] for tokens in answers)
        assert chi_square(counts, expected) < 20.5  # of 5 degrees of freedom: one in a thousand has more


# ---------------------------------------------------------------- the real model


def load(directory: Path, lookup: bool) -> Engine:
    options = EngineOptions(keep_prefixes=False, lookup=lookup)
    return Engine.load(load_artefact(directory, "quick"), 2, options, LIBRARY)


@needs_library
def test_a_seed_gives_the_real_models_same_tokens_with_and_without_guesses(native_artefact: Path) -> None:
    plain, guessing = load(native_artefact, False), load(native_artefact, True)
    prompt = [9, 10, 11, 12, 13, 14] * 8
    rows: list[int] = []
    run = guessing.steps.run
    guessing.steps.run = lambda *a: rows.append(len(a[0])) or run(*a)  # type: ignore[method-assign,func-returns-value]
    for seed in range(30):
        params = SamplingParams(temperature=0.8 + seed % 3 / 4, seed=seed, top_logprobs=2)
        one, other = (list(engine.generate(prompt, params, 24, (), Cancellation())) for engine in (plain, guessing))
        assert one == other
    assert max(rows) > 1


@needs_library
def test_guesses_fill_the_context_to_its_last_position(native_artefact: Path) -> None:
    plain, guessing = load(native_artefact, False), load(native_artefact, True)
    prompt = ([9, 10, 11, 12] * 300)[: plain.context_length - 40]
    one, other = (list(engine.generate(prompt, GREEDY, 40, (), Cancellation())) for engine in (plain, guessing))
    assert one == other
    assert len(other) == 40
