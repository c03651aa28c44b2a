from __future__ import annotations

import pytest

from handler.engine.costs import Costs


def costs(**seconds: float) -> Costs:
    """What steps of so many rows took: `rows_1=0.05`; the first of each doesn't count."""
    made = Costs()
    for name, value in seconds.items():
        for taken in (1000.0, value):
            made.note(int(name.removeprefix("rows_")), taken)
    return made


@pytest.mark.parametrize(("chance", "guesses"), [(0.01, 0), (0.1, 1), (0.9, 3)])
def test_where_rows_are_cheap_little_hope_is_enough(chance: float, guesses: int) -> None:
    large = costs(rows_1=0.050, rows_2=0.052, rows_3=0.055, rows_4=0.060)
    assert large.guesses(1, chance, 3) == guesses


@pytest.mark.parametrize(("chance", "guesses"), [(0.2, 0), (0.5, 1), (0.99, 3)])
def test_where_rows_are_dear_it_takes_more(chance: float, guesses: int) -> None:
    tiny = costs(rows_1=0.3, rows_2=0.4, rows_3=0.5, rows_4=0.6)
    assert tiny.guesses(1, chance, 3) == guesses


def test_several_answers_share_a_step() -> None:
    made = costs(rows_2=1.0, rows_4=2.0)
    assert made.guesses(2, 0.9, 1) == 0
    assert made.guesses(2, 1.0, 1) == 0  # twice the tokens in twice the time


def test_what_was_never_measured_is_tried() -> None:
    assert Costs().guesses(1, 0.5, 3) > 0


def test_no_more_than_may_be() -> None:
    assert Costs().guesses(1, 1.0, 2) == 2
    assert Costs().guesses(1, 1.0, 0) == 0


def test_what_never_comes_true_is_not_guessed() -> None:
    assert Costs().guesses(1, 0.0, 3) == 0
