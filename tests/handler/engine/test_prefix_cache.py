"""What the cache still holds of a prompt's beginning: used, and worth the same as computing it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from handler.artefact import load_artefact
from handler.engine.cancellation import Cancellation
from handler.engine.engine import Engine, EngineOptions
from handler.engine.sampling import SamplingParams
from handler.engine.sequence import Token
from handler.engine.slots import Prefix
from handler.errors import Cancelled
from tests.handler.engine.rescoring import Rescoring
from tests.kernels.models import LIBRARY, needs_library

pytestmark = needs_library
SCORED = SamplingParams(temperature=0, top_logprobs=3)
CHUNK = 32


@pytest.fixture(scope="module")
def rescoring(native_artefact: Path) -> Rescoring:
    return Rescoring(native_artefact)


def load(
    directory: Path, slots: int = 2, keep: bool = True, lookup: bool = True, prefixes: Sequence[Prefix] = ()
) -> Engine:
    options = EngineOptions(CHUNK, slots, keep, lookup)
    return Engine.load(load_artefact(directory, "quick"), 2, options, LIBRARY, prefixes=prefixes)


def text(seed: int, length: int) -> list[int]:
    ids: list[int] = np.random.default_rng(seed).integers(8, 2048, length).tolist()
    return ids


def ask(engine: Engine, prompt: Sequence[int], count: int = 12, params: SamplingParams = SCORED) -> list[Token]:
    return list(engine.generate(prompt, params, count, (), Cancellation()))


def said(tokens: Sequence[Token]) -> list[tuple[int, float | None, object]]:
    """All but where it came from."""
    return [(token.id, token.logprob, token.top_logprobs) for token in tokens]


def ids(tokens: Sequence[Token]) -> list[int]:
    return [token.id for token in tokens]


def test_a_chat_goes_on_where_it_was(native_artefact: Path, rescoring: Rescoring) -> None:
    engine = load(native_artefact)
    prompt, known = text(1, 100), 0
    for turn in range(4):
        answer = ask(engine, prompt)
        rescoring.check(prompt, answer)
        assert answer[0].cached_tokens == known
        prompt = [*prompt, *ids(answer)]
        known = len(prompt) - 1  # the last token's keys would have come with the next step
        prompt += text(turn, 20)


def test_a_prompt_that_comes_again_is_not_computed_at_all(native_artefact: Path) -> None:
    engine = load(native_artefact)
    prompt = text(2, 2 * CHUNK + 7)
    first, again = ask(engine, prompt), ask(engine, prompt)
    assert again[0].cached_tokens == len(prompt)
    assert said(again) == said(first)


def test_after_many_others_a_prompt_is_computed_from_its_last_token_on(
    native_artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handler.engine.engine.KEPT_LOGITS", 1)
    engine = load(native_artefact, slots=2)
    prompt = text(2, 2 * CHUNK + 1)
    first, _, again = ask(engine, prompt), ask(engine, text(3, 40)), ask(engine, prompt)
    assert again[0].cached_tokens == 2 * CHUNK
    assert said(again) == said(first)  # the same chunks, so the same bits


def test_a_beginning_that_two_prompts_share_is_copied_bit_for_bit(native_artefact: Path) -> None:
    engine, fresh = load(native_artefact), load(native_artefact, keep=False)
    shared = text(3, 4 * CHUNK)
    prompts = [[*shared, *text(seed, 90)] for seed in (4, 5)]
    answers = [ask(engine, prompt) for prompt in prompts]
    assert answers[1][0].cached_tokens == 4 * CHUNK
    for prompt, answer in zip(prompts, answers, strict=True):
        assert said(answer) == said(ask(fresh, prompt))
    assert ask(engine, [*prompts[0], 9])[0].cached_tokens == len(prompts[0])  # what was copied is still there


def test_a_beginning_that_is_no_whole_chunk_is_near(native_artefact: Path, rescoring: Rescoring) -> None:
    engine = load(native_artefact)
    ask(engine, text(6, 200))
    prompt = [*text(6, 200)[:77], *text(7, 60)]
    answer = ask(engine, prompt, 30)
    assert answer[0].cached_tokens == 77
    rescoring.check(prompt, answer)


def test_a_beginning_in_a_slot_that_is_decoding_is_copied(native_artefact: Path) -> None:
    engine, fresh = load(native_artefact), load(native_artefact, keep=False)
    shared = text(8, 2 * CHUNK)
    ask(engine, [*shared, 9])
    first = engine.generate([*shared, 10, 11], SCORED, 40, (), Cancellation())
    beginning = list(itertools.islice(first, 5))
    answer = ask(engine, [*shared, 12, 13])
    assert (beginning[0].cached_tokens, answer[0].cached_tokens) == (2 * CHUNK, 2 * CHUNK)
    assert said(answer) == said(ask(fresh, [*shared, 12, 13]))
    assert said([*beginning, *first]) == said(ask(fresh, [*shared, 10, 11], 40))


def test_the_same_prompt_at_the_same_moment_is_right_in_each_slot(native_artefact: Path) -> None:
    engine, fresh = load(native_artefact, slots=4), load(native_artefact, keep=False)
    prompt = text(9, 70)
    answers = [engine.generate(prompt, SCORED, 12, (), Cancellation()) for _ in range(4)]
    found: list[list[Token]] = [[] for _ in answers]
    for _ in range(12):
        for tokens, answer in zip(found, answers, strict=True):
            tokens.append(next(answer))
    expected = said(ask(fresh, prompt))
    assert [said(tokens) for tokens in found] == [expected] * 4


def test_what_gave_way_is_computed_anew(native_artefact: Path) -> None:
    engine, fresh = load(native_artefact), load(native_artefact, keep=False)
    chats = [text(seed, 150) for seed in range(10, 13)]
    for chat in (*chats, chats[0]):
        answer = ask(engine, chat)
        assert answer[0].cached_tokens == 0
        assert said(answer) == said(ask(fresh, chat))


def test_a_switch_turns_it_off(native_artefact: Path) -> None:
    engine = load(native_artefact, keep=False)
    prompt = text(13, 100)
    first, again = ask(engine, prompt), ask(engine, prompt)
    assert again[0].cached_tokens == 0
    assert said(first) == said(again)


def test_a_prompt_shorter_than_what_the_slot_holds_is_right(native_artefact: Path, rescoring: Rescoring) -> None:
    engine = load(native_artefact, slots=1)
    ask(engine, text(14, 300))
    prompt = text(14, 300)[:50]
    answer = ask(engine, prompt, 60)
    assert answer[0].cached_tokens == 49
    rescoring.check(prompt, answer)


def test_a_guess_that_was_wrong_is_not_held(native_artefact: Path, rescoring: Rescoring) -> None:
    engine = load(native_artefact)
    prompt, known = [9, 10, 11, 12, 13] * 12, 0
    params = SamplingParams(temperature=1.2, seed=5, top_logprobs=1)  # so that many guesses are wrong
    for turn in range(6):
        answer = ask(engine, prompt, 7 + turn, params)
        rescoring.check(prompt, answer)
        prompt = [*prompt, *ids(answer)]
        assert answer[0].cached_tokens == known
        known = len(prompt) - 1


def test_a_text_to_the_contexts_last_position_can_be_gone_back_in(native_artefact: Path, rescoring: Rescoring) -> None:
    engine = load(native_artefact, slots=1)
    prompt = ([9, 10, 11, 12] * 300)[: engine.context_length - 30]
    answer = ask(engine, prompt, 30)
    again = ask(engine, [*prompt, *ids(answer)[:29]], 1)
    assert again[0].cached_tokens == engine.context_length - 2
    rescoring.check([*prompt, *ids(answer)[:29]], again)


# ---------------------------------------------------------------- prompts that nobody waited for


def test_a_prefill_that_was_given_up_is_gone_on_with_bit_for_bit(native_artefact: Path) -> None:
    engine, fresh = load(native_artefact), load(native_artefact, keep=False)
    prompt = text(15, 5 * CHUNK + 7)
    cancellation = Cancellation()
    given_up = engine.answer(prompt, SCORED, 12, (), cancellation)
    for _ in range(3):
        assert next(given_up) is None
        engine.step()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        next(given_up)
    answer = ask(engine, prompt)
    assert answer[0].cached_tokens == 3 * CHUNK
    assert said(answer) == said(ask(fresh, prompt))


def test_a_prefill_that_is_closed_is_gone_on_with_bit_for_bit(native_artefact: Path) -> None:
    engine, fresh = load(native_artefact), load(native_artefact, keep=False)
    prompt = text(16, 5 * CHUNK + 7)
    closed = engine.answer(prompt, SCORED, 12, (), Cancellation())
    next(closed)
    engine.step()
    closed.close()
    answer = ask(engine, prompt)
    assert answer[0].cached_tokens == CHUNK
    assert said(answer) == said(ask(fresh, prompt))


def test_wherever_a_prefill_is_given_up_the_next_answer_is_right(native_artefact: Path) -> None:
    engine, fresh = load(native_artefact), load(native_artefact, keep=False)
    for n in range(12):
        prompt, cancellation = text(100 + n, 20 * CHUNK + 1), Cancellation()
        timer = threading.Timer(0.004 * n, cancellation.cancel)
        timer.start()
        with suppress(Cancelled):
            list(engine.generate(prompt, SCORED, 1, (), cancellation))
        timer.join()
        answer = ask(engine, prompt, 3)
        cached = answer[0].cached_tokens
        assert cached == len(prompt) or cached % CHUNK == 0  # all of it, if it was read before it was given up
        assert said(answer) == said(ask(fresh, prompt, 3))


# ---------------------------------------------------------------- prefixes that were computed before


@dataclass(frozen=True)
class Computed:
    ids: Sequence[int]
    arrays: Mapping[str, NDArray[Any]]


def computed(directory: Path, prefix: Sequence[int]) -> Computed:
    engine = load(directory)
    ask(engine, [*prefix, 9], 1)
    return Computed(prefix, {name: array[0, :, : len(prefix)].copy() for name, array in engine.slots.cache.items()})


def test_a_prefix_of_whole_chunks_is_worth_its_computation_bit_for_bit(native_artefact: Path) -> None:
    prefix = text(17, 3 * CHUNK)
    engine = load(native_artefact, prefixes=[computed(native_artefact, prefix)])
    prompt = [*prefix, *text(18, 40)]
    answer = ask(engine, prompt)
    assert answer[0].cached_tokens == 3 * CHUNK
    assert said(answer) == said(ask(load(native_artefact, keep=False), prompt))


def test_a_prefix_outlives_whatever_the_slots_hold(native_artefact: Path) -> None:
    prefix = text(17, 3 * CHUNK)
    engine = load(native_artefact, slots=1, prefixes=[computed(native_artefact, prefix)])
    for seed in range(3):
        ask(engine, text(50 + seed, 200), 2)
        assert ask(engine, [*prefix, 5], 2)[0].cached_tokens == 3 * CHUNK
