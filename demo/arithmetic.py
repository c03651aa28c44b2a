"""Sums, differences, comparison and sorting of small numbers.

Digits are single tokens, so the model works column by column and says so: the working is short, and each of
its steps is a table look-up. Operands, not phrasings, divide training from evaluation.
"""

from __future__ import annotations

from random import Random

from demo.words import Dialogue, is_held_out, turn

COLUMNS = ("ones", "tens", "hundreds", "thousands")

_ADD = (
    "What is {a} + {b}?", "{a} + {b}", "{a}+{b}", "{a} + {b} = ?", "What is {a} plus {b}?",
    "Add {a} and {b}.", "How much is {a} + {b}?", "Calculate {a} + {b}.", "What's {a} + {b}?",
    "Please add {a} to {b}.", "Compute {a}+{b}.",
)  # fmt: skip
_SUBTRACT = (
    "What is {a} - {b}?", "{a} - {b}", "{a}-{b}", "{a} - {b} = ?", "What is {a} minus {b}?",
    "{a} minus {b}", "How much is {a} - {b}?", "Calculate {a} - {b}.", "What's {a} - {b}?",
    "Compute {a}-{b}.",
)  # fmt: skip
_LARGER = (
    "Which is larger, {a} or {b}?",
    "Which number is bigger: {a} or {b}?",
    "What is larger, {a} or {b}?",
)
_SMALLER = (
    "Which is smaller, {a} or {b}?",
    "Which number is less: {a} or {b}?",
    "What is smaller, {a} or {b}?",
)
_ASCENDING = ("Sort {x}.", "Sort these numbers: {x}", "Put {x} in order.", "Sort from small to large: {x}")
_DESCENDING = ("Sort {x} in descending order.", "Sort from large to small: {x}", "Sort {x}, largest first.")
_LARGEST = ("What is the largest of {x}?", "Which is the largest number: {x}?")
_SMALLEST = ("What is the smallest of {x}?", "Which is the smallest number: {x}?")


def _digit(number: int, column: int) -> int:
    return number // int(10**column) % 10


def _columns(a: int, b: int) -> int:
    return len(str(max(a, b)))


def add_working(a: int, b: int) -> str:
    """The answer to a + b: one step per column, then the result. Operands are at least 0 and below 10,000."""
    steps, carry = [], 0
    for column in range(_columns(a, b)):
        x, y = _digit(a, column), _digit(b, column)
        total = x + y + carry
        steps.append(f"{COLUMNS[column]} {x}+{y}{'+1' if carry else ''}={total}")
        carry = total // 10
    return f"{', '.join(steps)}. Answer: {a + b}."


def subtract_working(a: int, b: int) -> str:
    """The answer to a - b: a column that is too small borrows ten, and the next column gives one back."""
    if a < b:
        working = subtract_working(b, a).replace("Answer: ", "Answer: -")
        return f"{b} is larger, so the answer is negative: {working}"
    steps, borrow = [], 0
    for column in range(_columns(a, b)):
        x, y = _digit(a, column), _digit(b, column)
        top = x + 10 if x < y + borrow else x
        steps.append(f"{COLUMNS[column]} {top}-{y}{'-1' if borrow else ''}={top - y - borrow}")
        borrow = int(top > 9)
    return f"{', '.join(steps)}. Answer: {a - b}."


def _operand(rng: Random) -> int:
    return rng.randrange(10 ** rng.choices((1, 2, 3), (1, 4, 7))[0])


def _operands(rng: Random, held_out: bool, sign: str) -> tuple[int, int]:
    while True:
        a, b = _operand(rng), _operand(rng)
        if is_held_out(f"{a}{sign}{b}") == held_out:
            return a, b


def addition(rng: Random, held_out: bool) -> Dialogue:
    """A sum of two numbers below 1,000."""
    a, b = _operands(rng, held_out, "+")
    return turn(rng.choice(_ADD).format(a=a, b=b), add_working(a, b))


def subtraction(rng: Random, held_out: bool) -> Dialogue:
    """A difference of two numbers below 1,000, negative one time in eight."""
    while True:
        a, b = _operands(rng, held_out, "-")
        if a >= b or rng.random() < 0.14:
            return turn(rng.choice(_SUBTRACT).format(a=a, b=b), subtract_working(a, b))


def comparison(rng: Random, held_out: bool) -> Dialogue:
    """The larger or the smaller one of two different numbers below 1,000."""
    while True:
        a, b = _operands(rng, held_out, "<")
        if rng.random() < 0.4:  # close numbers are the interesting ones
            b = max(0, a + rng.choice((-1, 1)) * rng.randint(1, 30))
        if a != b and is_held_out(f"{a}<{b}") == held_out:
            break
    larger = rng.random() < 0.5
    question = rng.choice(_LARGER if larger else _SMALLER).format(a=a, b=b)
    return turn(question, str(max(a, b) if larger else min(a, b)))


def ordering(rng: Random, held_out: bool) -> Dialogue:
    """Sorting of three to five different numbers below 100, or their largest or smallest."""
    while True:
        numbers = rng.sample(range(100), rng.randint(3, 5))
        listed = ", ".join(map(str, numbers))
        if is_held_out(listed) == held_out:
            break
    descending = rng.random() < 0.35
    if rng.random() < 0.2:
        question = rng.choice(_LARGEST if descending else _SMALLEST)
        return turn(question.format(x=listed), str(max(numbers) if descending else min(numbers)))
    question = rng.choice(_DESCENDING if descending else _ASCENDING)
    return turn(question.format(x=listed), ", ".join(map(str, sorted(numbers, reverse=descending))))


def arithmetic(rng: Random, held_out: bool) -> Dialogue:
    """One of the four, weighted by how much practice each needs."""
    kinds = (addition, subtraction, comparison, ordering)
    return rng.choices(kinds, (30, 35, 15, 20))[0](rng, held_out)
