from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from handler.api.completions import parse_completion
from handler.deadline import Deadline
from handler.engine.cancellation import Cancellation
from handler.errors import Cancelled, DeadlineExceeded
from handler.generation import Generation, generate, prepare
from handler.text.deltas import Delta, joined
from tests.handler.doubles import TEMPLATE, ScriptedEngine, byte_model


def answered(
    engine: ScriptedEngine, at_once: Callable[[], int] = lambda: 1, left_s: float | None = None, **members: Any
) -> tuple[Generation, Sequence[Delta]]:
    model = byte_model(engine, 200, TEMPLATE)
    deadline = None if left_s is None else Deadline(time.time() + left_s)
    request = parse_completion({"prompt": "hi", **members}, model.served)
    generation = prepare(model, request, "1", 0.0, deadline)
    return generation, [delta for delta in generate(model, generation, Cancellation(), at_once) if delta is not None]


@pytest.mark.parametrize("at_once", [1, 2, 8])
def test_there_are_n_choices_of_each_prompt_whatever_runs_side_by_side(at_once: int) -> None:
    engine = ScriptedEngine()
    generation, deltas = answered(engine, lambda: at_once, prompt=["a", "b"], n=2)
    assert [(choice.index, choice.text) for choice in joined(deltas)] == [(n, "hello world") for n in range(4)]
    assert sorted(bytes(ids[1:]) for ids in engine.calls) == [b"a", b"a", b"b", b"b"]
    assert engine.closed == 4
    assert generation.meter.usage()["prompt_tokens"] == 4
    assert generation.meter.usage()["completion_tokens"] == 44


def test_what_was_cached_of_a_prompt_counts_once() -> None:
    generation, _ = answered(ScriptedEngine(cached_tokens=1), prompt=["a", "b"], n=3)
    assert generation.meter.usage()["prompt_tokens_details"] == {"cached_tokens": 2}


def test_stop_strings_end_each_choice_by_itself() -> None:
    _, deltas = answered(ScriptedEngine(), n=2, stop=["wor"])
    assert [(choice.text, choice.finish_reason) for choice in joined(deltas)] == [("hello ", "stop")] * 2


def test_a_stop_string_may_be_told_and_may_have_to_wait() -> None:
    (choice,) = joined(answered(ScriptedEngine("ab ab ab"), stop=["b"], include_stop_str_in_output=True)[1])
    assert choice.text == "ab"
    (choice,) = joined(answered(ScriptedEngine("ab ab ab"), stop=["b"], min_tokens=4)[1])
    assert choice.text == "ab a"


def test_the_deadline_ends_all_choices_in_good_order() -> None:
    generation, deltas = answered(ScriptedEngine(hold_after=3), left_s=0.5, n=2)
    assert [(choice.text, choice.finish_reason) for choice in joined(deltas)] == [("hel", "length"), ("", "length")]
    assert generation.meter.stopped_by == "deadline"


def test_a_cancellation_ends_all_choices() -> None:
    engine = ScriptedEngine(hold_after=2)
    model, cancellation = byte_model(engine, 200, TEMPLATE), Cancellation()
    generation = prepare(model, parse_completion({"prompt": "hi", "n": 3}, model.served), "1", 0.0)
    deltas = generate(model, generation, cancellation, lambda: 3)
    next(deltas)
    cancellation.cancel()
    with pytest.raises(Cancelled):
        list(deltas)
    assert engine.closed == len(engine.calls)


# ---------------------------------------------------------------- echo


def test_an_echo_comes_before_its_answer() -> None:
    engine = ScriptedEngine()
    (choice,) = joined(answered(engine, echo=True)[1])
    assert (choice.text, choice.tokens, engine.scored) == ("hihello world", (), [])


def test_an_echo_has_scores_once_a_prompt() -> None:
    engine = ScriptedEngine()
    _, deltas = answered(engine, echo=True, logprobs=1, prompt=["hi", [104]], n=2, max_tokens=1)
    first, _, third, _ = joined(deltas)
    assert [(token.raw, token.logprob, token.offset) for token in first.tokens] == [
        (b"<s>", None, 0),
        (b"h", -1.0, 0),
        (b"i", -2.0, 1),
        (b"h", -0.5, 2),
    ]
    assert [(token.raw, token.logprob, token.offset) for token in third.tokens] == [(b"h", None, 0), (b"h", -0.5, 1)]
    assert len(engine.scored) == 2


def test_an_echo_can_be_all() -> None:
    engine = ScriptedEngine()
    generation, deltas = answered(engine, echo=True, logprobs=0, max_tokens=0)
    (choice,) = joined(deltas)
    assert (choice.text, choice.finish_reason, len(choice.tokens)) == ("hi", "length", 3)
    assert engine.calls == []
    assert generation.meter.usage()["completion_tokens"] == 0
    assert generation.meter.timings()["prefill_ms"] is not None


def test_what_was_read_for_an_echo_was_not_cached() -> None:
    generation, _ = answered(ScriptedEngine(cached_tokens=3), echo=True, logprobs=0)
    assert generation.meter.usage()["prompt_tokens_details"] == {"cached_tokens": 0}


def test_half_of_the_scores_are_no_answer() -> None:
    engine = ScriptedEngine()
    engine.gate.clear()
    with pytest.raises(DeadlineExceeded):
        answered(engine, echo=True, logprobs=0, left_s=0.1)
