from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from handler.api.parts import Part, Parts, Step, parts_of
from handler.text.deltas import CallDelta, Delta, ScoredToken, joined

SCORE = ScoredToken(b"a", -0.5, (), 0)


def steps(*deltas: Delta) -> list[Step]:
    parts = Parts()
    return [step for delta in deltas for step in parts.take(delta)] + list(parts.end())


def test_words_begin_grow_and_end() -> None:
    assert steps(Delta("a"), Delta(""), Delta("b")) == [
        Step("began", 0, Part("text")),
        Step("grew", 0, Part("text", "a")),
        Step("grew", 0, Part("text", "b")),
        Step("ended", 0, Part("text", "ab")),
    ]


def test_an_empty_answer_has_no_parts() -> None:
    assert steps(Delta("", finish_reason="stop")) == []
    assert parts_of(Delta("", finish_reason="stop")) == []


def test_thoughts_end_where_words_begin() -> None:
    assert [(step.change, step.index, step.part.kind) for step in steps(Delta("b", reasoning="a"))] == [
        ("began", 0, "reasoning"),
        ("grew", 0, "reasoning"),
        ("ended", 0, "reasoning"),
        ("began", 1, "text"),
        ("grew", 1, "text"),
        ("ended", 1, "text"),
    ]


def test_a_call_without_arguments_is_a_part() -> None:
    assert [step.change for step in steps(Delta("", calls=(CallDelta(0, "c1", "now"),)))] == ["began", "ended"]


def test_scores_wait_for_their_words() -> None:
    deltas = [Delta("", (SCORE,), reasoning="hm"), Delta("a", (SCORE,)), Delta("", (SCORE,))]
    grown = [len(step.part.tokens) for step in steps(*deltas) if step.change == "grew"]
    assert grown == [0, 2, 1]
    assert [len(part.tokens) for part in parts_of(joined(deltas)[0])] == [0, 3]


WORDS = st.text("ab", max_size=2)


@st.composite
def answers(draw: st.DrawFn) -> list[Delta]:
    """Deltas as they come: thoughts first, then words and calls, a call's pieces behind each other."""
    deltas = [Delta("", reasoning=draw(WORDS)) for _ in range(draw(st.integers(0, 2)))]
    for index in range(draw(st.integers(0, 3))):
        deltas += [Delta(draw(WORDS)), Delta(draw(WORDS), calls=(CallDelta(index, f"c{index}", "f", draw(WORDS)),))]
        deltas += [Delta("", calls=(CallDelta(index, arguments=draw(WORDS)),)) for _ in range(draw(st.integers(0, 2)))]
    return [*deltas, Delta(draw(WORDS), finish_reason="stop")]


@given(answers())
def test_the_parts_of_a_stream_are_those_of_the_whole(deltas: list[Delta]) -> None:
    ended = [step.part for step in steps(*deltas) if step.change == "ended"]
    assert ended == parts_of(joined(deltas)[0])


@given(answers())
def test_what_a_part_grows_by_is_what_it_ends_as(deltas: list[Delta]) -> None:
    grown: dict[int, str] = {}
    for step in steps(*deltas):
        if step.change == "grew":
            grown[step.index] = grown.get(step.index, "") + step.part.text
        elif step.change == "ended":
            assert grown.get(step.index, "") == step.part.text
