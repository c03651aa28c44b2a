"""The working is right, step by step."""

from __future__ import annotations

import re
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from demo.arithmetic import add_working, comparison, ordering, subtract_working

operands = st.integers(0, 9999)
seeds = st.integers(0, 10**6)


def _steps(working: str) -> list[tuple[str, int]]:
    return [(term, int(value)) for term, value in re.findall(r"(\d+(?:[+-]\d)+)=(\d+)", working)]


def _evaluate(term: str) -> int:
    return sum(int(part) for part in re.findall(r"[+-]?\d+", term))


@given(operands, operands)
def test_addition(a: int, b: int) -> None:
    working = add_working(a, b)
    steps = _steps(working)
    assert working.endswith(f"Answer: {a + b}.")
    assert len(steps) == max(len(str(a)), len(str(b)))
    assert all(_evaluate(term) == value for term, value in steps)


@given(operands, operands)
def test_subtraction(a: int, b: int) -> None:
    working = subtract_working(a, b)
    assert working.endswith(f"Answer: {a - b}.")
    assert all(_evaluate(term) == value and 0 <= value <= 9 for term, value in _steps(working))


@given(operands, operands)
def test_the_columns_of_a_sum_are_its_digits(a: int, b: int) -> None:
    *lower, (_, last) = _steps(add_working(a, b))
    assert int(f"{last}" + "".join(str(value % 10) for _, value in reversed(lower))) == a + b


@given(seeds, st.booleans())
def test_comparison_picks_one_of_the_two(seed: int, held_out: bool) -> None:
    question, answer = (message["content"] for message in comparison(Random(seed), held_out))
    numbers = [int(number) for number in re.findall(r"\d+", question)]
    pick = max if re.search("larger|bigger", question) else min
    assert int(answer) == pick(numbers)


@given(seeds, st.booleans())
def test_sorting_sorts(seed: int, held_out: bool) -> None:
    question, answer = (message["content"] for message in ordering(Random(seed), held_out))
    numbers = [int(number) for number in re.findall(r"\d+", question)]
    down = any(word in question for word in ("descending", "large to small", "largest"))
    ordered = sorted(numbers, reverse=down)
    assert answer == (str(ordered[0]) if "What" in question or "Which" in question else ", ".join(map(str, ordered)))
