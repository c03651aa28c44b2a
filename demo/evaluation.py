"""Held-out items per skill: phrasings, names and numbers that training never draws.

Plain Python, so that any engine can be asked the same questions: `items` gives the messages and the expected
answer, `score` compares. Tools and schemas stand in the system message, as the chat template writes them there.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from demo.arithmetic import addition, comparison, ordering, subtraction
from demo.dialogue import chat, memory, unknown
from demo.extraction import extraction
from demo.facts import held_out_questions, styled
from demo.offers import read_calls, read_object
from demo.repetition import repetition
from demo.schemas import schemas
from demo.stories import checkable
from demo.tools import tools
from demo.words import Dialogue, Skill, turn


@dataclass(frozen=True)
class Item:
    """What to send, and the one right answer."""

    messages: Dialogue
    expected: str


_GENERATED: dict[str, Skill] = {
    "style": styled,  # facts again, in three words or in one sentence
    "addition": addition,
    "subtraction": subtraction,
    "comparison": comparison,
    "sorting": ordering,
    "extraction": extraction,
    "stories": checkable,  # retelling and questions; free stories have no one right answer
    "memory": memory,
    "unknown": unknown,
    "repetition": repetition,
    "chat": chat,  # the last answer of a longer conversation
    "tools": tools,  # a call, a result in words, or an answer that needs no tool
    "schema": schemas,
}
SKILLS = ("facts", *_GENERATED)


def _facts(count: int, rng: Random) -> list[Dialogue]:
    """Every held-out phrasing once, in random order, before any comes again."""
    drawn: list[tuple[str, str]] = []
    while len(drawn) < count:
        sheet = held_out_questions()
        drawn += rng.sample(sheet, len(sheet))
    return [turn(question, answer) for question, answer in drawn[:count]]


def items(skill: str, count: int, seed: int = 0) -> list[Item]:
    """`count` items of one of `SKILLS`; the same seed gives the same items.

    Raises:
        KeyError: there's no such skill.
    """
    rng = Random(f"evaluation/{skill}/{seed}")
    if skill == "facts":
        dialogues = _facts(count, rng)
    else:
        generate = _GENERATED[skill]
        dialogues = [generate(rng, True) for _ in range(count)]
    return [Item(dialogue[:-1], dialogue[-1]["content"]) for dialogue in dialogues]


def score(answer: str, expected: str) -> bool:
    """Whether the answer is right: the same text, the same calls or the same object, but for white space.

    Members have to come in the same order.
    """
    if answer.strip() == expected.strip():
        return True
    return any(read(expected) is not None and read(answer) == read(expected) for read in (read_calls, read_object))
