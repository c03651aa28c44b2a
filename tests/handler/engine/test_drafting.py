from __future__ import annotations

import numpy as np
import pytest

from handler.engine.drafting import FIRST_GUESS, FIRST_PAUSE, LONGEST_PAUSE, MISSES, NoDrafter, PromptLookup


def test_what_followed_before_is_guessed() -> None:
    drafter = PromptLookup([1, 2, 3, 4, 5, 6, 1, 2, 3])
    assert list(drafter.guess(1)) == [4]


def test_the_latest_occurrence_counts() -> None:
    assert list(PromptLookup([1, 2, 3, 7, 1, 2, 3, 8, 1, 2, 3]).guess(1)) == [8]


def test_the_longer_match_counts() -> None:
    assert list(PromptLookup([1, 2, 3, 7, 9, 2, 3, 8, 1, 2, 3]).guess(1)) == [7]


def test_the_longest_match_counts_not_the_latest() -> None:
    assert list(PromptLookup([1, 2, 3, 4, 7, 2, 3, 4, 8, 3, 4, 9, 1, 2, 3, 4]).guess(1)) == [7]


def test_one_token_is_a_match_where_its_followers_agree() -> None:
    assert list(PromptLookup([3, 8, 1, 3, 8, 2, 3]).guess(1)) == [8]
    assert list(PromptLookup([3, 8, 1, 3, 9, 2, 3]).guess(1)) == []


def test_what_repeats_is_guessed_beyond_its_end() -> None:
    assert list(PromptLookup([9, 1, 2, 1, 2, 1]).guess(3)) == [2, 1, 2]


@pytest.mark.parametrize("prompt", [[1], [1, 2], [1, 2, 3, 4, 5]])
def test_what_was_never_there_is_not_guessed(prompt: list[int]) -> None:
    assert list(PromptLookup(prompt).guess(5)) == []


def test_the_answer_is_looked_up_too() -> None:
    drafter = PromptLookup([1])
    drafter.observe([2, 3, 4, 5, 1, 2, 3], 0, 0)
    assert list(drafter.guess(1)) == [4]


def test_right_guesses_grow() -> None:
    drafter = PromptLookup([*range(50), 0, 1, 2])
    lengths = []
    for _ in range(4):
        guess = list(drafter.guess(100))
        drafter.observe(guess, len(guess), len(guess))
        lengths.append(len(guess))
    assert lengths == [FIRST_GUESS, 7, 15, 31]


def test_a_wrong_guess_ends_that() -> None:
    drafter = PromptLookup([*range(50), 0, 1, 2])
    for _ in range(3):
        guess = list(drafter.guess(100))
        drafter.observe(guess, len(guess), len(guess))
    guess = list(drafter.guess(100))
    drafter.observe([*guess[:2], 25, 26, 27], len(guess), 2)
    assert len(drafter.guess(100)) == 3
    drafter.observe([40], 3, 0)
    assert len(drafter.guess(100)) == 1


@pytest.mark.parametrize("most", [-1, 0, 1, 2, 5])
def test_no_more_is_guessed_than_asked_for(most: int) -> None:
    drafter = PromptLookup([*range(50), 0, 1, 2])
    for _ in range(3):
        guess = list(drafter.guess(100))
        drafter.observe(guess, len(guess), len(guess))
    assert len(drafter.guess(most)) == max(0, most)


def test_guessing_changes_nothing() -> None:
    drafter = PromptLookup([1, 2, 3, 4, 1, 2])
    assert list(drafter.guess(3)) == list(drafter.guess(3)) == [3, 4, 1]


def pauses(drafter: PromptLookup) -> int:
    """Miss until it is silent; tokens until it guesses again, of a text of 2-grams that it all knows."""
    for _ in range(MISSES):
        assert drafter.guess(1)
        drafter.observe([1], 1, 0)
    count = 0
    while not drafter.guess(1):
        drafter.observe([1], 0, 0)
        count += 1
    return count


def test_misses_make_it_pause_longer_and_longer() -> None:
    drafter = PromptLookup([1] * 5)
    found = [pauses(drafter) for _ in range(7)]
    assert found == [min(FIRST_PAUSE * 2**n, LONGEST_PAUSE) for n in range(7)]


def test_a_hit_makes_the_next_pause_short_again() -> None:
    drafter = PromptLookup([1] * 5)
    pauses(drafter)
    pauses(drafter)
    drafter.observe([1], 1, 1)
    assert pauses(drafter) == FIRST_PAUSE


def test_a_guess_that_was_right_in_part_is_no_miss() -> None:
    drafter = PromptLookup([1] * 5)
    for _ in range(MISSES - 1):
        drafter.observe([1], 1, 0)
    drafter.observe([1, 1], 2, 1)
    for _ in range(MISSES - 1):
        drafter.observe([1], 1, 0)
    assert drafter.guess(1)


def test_a_hundred_thousand_tokens_take_an_entry_each_at_most() -> None:
    ids = np.random.default_rng(0).integers(0, 30_000, 100_000).tolist()
    drafter = PromptLookup(ids)
    for id in ids[:20_000]:
        drafter.guess(3)
        drafter.observe([id], 0, 0)
    assert len(drafter._latest) <= len(ids) + 20_000
    assert len(drafter._before) <= len(ids) + 20_000


def test_no_drafter_guesses_nothing() -> None:
    drafter = NoDrafter()
    drafter.observe([1, 2, 1, 2], 0, 0)
    assert list(drafter.guess(5)) == []


def test_the_chance_follows_what_was_right() -> None:
    drafter = PromptLookup([1, 2, 3])
    usual = drafter.chance
    drafter.observe([4, 5, 6], 3, 3)
    better = drafter.chance
    for _ in range(10):
        drafter.observe([7], 1, 0)
    worse = drafter.chance
    drafter.observe([8] * 1000, 0, 0)
    assert worse < 0.1 < usual < better < 1
    assert drafter.chance == usual  # after a while, as if nothing had been wrong
