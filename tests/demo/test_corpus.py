"""The corpus is deterministic and varied; the evaluation shares no question with it."""

from __future__ import annotations

import pytest

from demo.corpus import (
    COPYING,
    COPYING_EXAMPLES,
    EVERYTHING,
    OBJECTS,
    OBJECTS_EXAMPLES,
    PRACTICE,
    PRACTICE_EXAMPLES,
    Mixture,
    example,
    examples,
    mixture,
)
from demo.evaluation import SKILLS, items, score
from demo.facts import held_out_questions, phrasings, sheet
from demo.words import Dialogue


def test_an_example_depends_on_seed_and_number_alone() -> None:
    assert list(examples(0, 10, 5)) == [example(0, index) for index in range(10, 15)]
    assert list(examples(0, 0, 20)) != list(examples(1, 0, 20))


def without_results(dialogue: Dialogue) -> Dialogue:
    """A dialogue without tools' results and the answers to them."""
    found: Dialogue = []
    for before, message in zip([None, *dialogue], dialogue, strict=False):
        if message["role"] != "tool" and (before is None or before["role"] != "tool"):
            found.append(message)
    return found


def test_every_dialogue_alternates_and_ends_with_an_answer() -> None:
    for dialogue in examples(0, 0, 500):
        talk = [message["role"] for message in without_results(dialogue) if message["role"] != "system"]
        assert talk == ["user", "assistant"] * (len(talk) // 2)
        assert all(message["content"].strip() == message["content"] != "" for message in dialogue)


@pytest.mark.parametrize("shares", [COPYING, EVERYTHING, PRACTICE, OBJECTS])
def test_the_shares_of_a_mixture_sum_to_one(shares: Mixture) -> None:
    assert sum(shares.values()) == pytest.approx(1)


def test_the_mixtures_follow_each_other() -> None:
    assert mixture(COPYING_EXAMPLES.stop - 1) is COPYING
    assert mixture(COPYING_EXAMPLES.stop) is EVERYTHING
    assert mixture(PRACTICE_EXAMPLES.start) is PRACTICE
    assert mixture(OBJECTS_EXAMPLES.start) is OBJECTS


@pytest.mark.parametrize("skill", SKILLS)
def test_items_are_deterministic_and_end_with_a_question(skill: str) -> None:
    drawn = items(skill, 20, seed=3)
    assert drawn == items(skill, 20, seed=3)
    assert all(item.messages[-1]["role"] in ("user", "tool") for item in drawn)
    assert skill == "tools" or all(item.messages[-1]["role"] == "user" for item in drawn)
    assert all(score(f" {item.expected}\n", item.expected) for item in drawn)


@pytest.mark.parametrize(
    "skill", ["facts", "addition", "subtraction", "comparison", "sorting", "extraction", "stories", "repetition"]
)
def test_no_held_out_question_is_trained(skill: str) -> None:
    asked = {item.messages[0]["content"] for item in items(skill, 200)}
    trained = {message["content"] for dialogue in examples(0, PRACTICE_EXAMPLES.start, 5_000) for message in dialogue}
    assert not asked & trained


@pytest.mark.parametrize("skill", ["tools", "schema"])
def test_no_held_out_request_is_trained(skill: str) -> None:
    asked = {item.messages[-1]["content"] for item in items(skill, 300) if item.expected.startswith(("<", "{"))}
    trained = {message["content"] for dialogue in examples(0, PRACTICE_EXAMPLES.start, 5_000) for message in dialogue}
    assert len(asked) > 50
    assert not asked & trained


def test_held_out_phrasings_differ_in_more_than_case_and_marks() -> None:
    trained = {phrasing.lower().rstrip("?.") for fact in sheet() for phrasing in phrasings(fact)}
    assert not [question for question, _ in held_out_questions() if question.lower().rstrip("?.") in trained]


def test_the_answers_in_three_words_have_three_words() -> None:
    assert [fact.id for fact in sheet() if len(fact.three.split()) != 3] == []


def test_each_fact_has_its_own_answer_and_enough_phrasings() -> None:
    assert len({fact.answer for fact in sheet()}) == len(sheet())
    assert all(len(fact.ask) >= 5 and len(fact.held_out) >= 2 for fact in sheet())


def test_a_score_forgives_white_space_only() -> None:
    assert score(" 42\n", "42")
    assert not score("42.", "42")


def test_a_score_compares_calls_and_objects_by_their_members() -> None:
    call = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'
    assert score('<tool_call>{"name":"add","arguments":{"a":1,"b":2}}</tool_call>', call)
    assert not score(call.replace("2", "3"), call)
    assert not score(f"{call}\n{call}", call)
    assert not score(call.removesuffix("</tool_call>"), call)
    assert score('{"a":[1,2]}', '{"a": [1, 2]}')
    assert not score('{"b": 2, "a": 1}', '{"a": 1, "b": 2}')


def test_an_unknown_skill_is_an_error() -> None:
    with pytest.raises(KeyError):
        items("poetry", 1)
