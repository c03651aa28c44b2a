"""A retelling says what the story said; a memory is asked for what was told."""

from __future__ import annotations

from random import Random

import pytest

from demo.dialogue import memory, unknown
from demo.stories import ANIMALS, THINGS, full_text, invent, one_sentence, questions, telling, three_words


@pytest.mark.parametrize("seed", range(50))
def test_a_retelling_uses_the_words_of_the_story(seed: int) -> None:
    story = invent(Random(seed), seed % 2 == 0)
    text = full_text(story)
    assert all(word in text for word in (story.name, story.animal, story.thing, story.place, story.friend))
    assert all(word in one_sentence(story) for word in (story.name, story.thing, story.place, story.deed))
    assert len(three_words(story).split()) == 3
    assert len({answer for _, answer in questions(story)}) == 5


@pytest.mark.parametrize("seed", range(50))
def test_a_story_is_about_what_was_asked_for(seed: int) -> None:
    question, answer = (message["content"] for message in telling(Random(seed), False))
    asked = [word for word in (*ANIMALS, *THINGS) if f" {word}" in question.replace(".", " ").split(" about")[1]]
    assert any(word in answer for word in asked)


@pytest.mark.parametrize("seed", range(50))
def test_what_is_recalled_was_told(seed: int) -> None:
    dialogue = memory(Random(seed), True)
    value = dialogue[-1]["content"].rstrip(".").split(" ")[-1]
    told = " ".join(message["content"] for message in dialogue[:-2])
    assert value == "me" or value in told  # "You have not told me."


def test_outside_questions_get_the_same_honest_answer() -> None:
    assert len({unknown(Random(seed), seed % 2 == 0)[-1]["content"] for seed in range(50)}) == 1
