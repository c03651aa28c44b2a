"""The fact sheet (`facts.toml`) as dialogues: many phrasings to learn from, others to be tested with."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from demo.words import Dialogue, turn

SHEET = Path(__file__).with_name("facts.toml")

_FRAMES = (
    "What is {x}?", "What's {x}?", "Tell me about {x}.", "Explain {x}.", "Can you explain {x}?",
    "Describe {x}.", "What do you know about {x}?", "What can you tell me about {x}?",
    "I have a question about {x}.", "{x}?", "{x}", "Say something about {x}.", "How would you explain {x}?",
    "I want to know about {x}.", "Please explain {x}.",
)  # fmt: skip
_BEFORE = (
    "Please tell me: ",
    "Question: ",
    "Hi! ",
    "Hello, ",
    "Ok. ",
    "One more question: ",
    "Tell me, ",
    "And ",
    "So ",
)
_AFTER = (" Thanks!", " Thank you.", " Please answer.", " I am new to this.", " Please.", " Just curious.")
_MANNERS = (
    "In {n}: {q}", "{q} Answer in {n}.", "{q} In {n}, please.", "{s} in {n}?", "{s} in {n}.", "In {n}, {q}",
    "{s}, in {n}",
)  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """One fact: its answer, the same in three words, and the ways to ask for it."""

    id: str
    answer: str
    three: str
    topics: tuple[str, ...]
    ask: tuple[str, ...]
    held_out: tuple[str, ...]


@cache
def sheet() -> tuple[Fact, ...]:
    """The fact sheet, read once."""
    entries = tomllib.loads(SHEET.read_text(encoding="utf-8"))["fact"]
    return tuple(
        Fact(e["id"], e["answer"], e["three"], tuple(e["topics"]), tuple(e["ask"]), tuple(e["held_out"]))
        for e in entries
    )


def _drop_word(rng: Random, question: str) -> str:
    words = question.split(" ")
    if len(words) < 5:
        return question
    del words[rng.randrange(len(words) - 1)]
    return " ".join(words)


def _roughen(rng: Random, question: str) -> str:
    """What hurried people do to a question: politeness, lower case, a missing word or question mark."""
    if rng.random() < 0.15:
        question = _drop_word(rng, question)
    if rng.random() < 0.15:
        question = rng.choice(_BEFORE) + question[0].lower() + question[1:]
    if rng.random() < 0.1:
        question += rng.choice(_AFTER)
    if rng.random() < 0.1:
        question = question.lower()
    if rng.random() < 0.1:
        question = question.rstrip("?.")
    return question


def phrasings(fact: Fact) -> set[str]:
    """Every phrasing that training may start from, before it's roughened."""
    framed = {frame.format(x=topic) for frame in _FRAMES for topic in fact.topics}
    return framed | set(fact.ask)


def _question(rng: Random, fact: Fact) -> str:
    if rng.random() < 0.55:
        return rng.choice(fact.ask)
    framed = rng.choice(_FRAMES).format(x=rng.choice(fact.topics))
    return framed[0].upper() + framed[1:]


def _ask(rng: Random, held_out: bool) -> tuple[str, Fact]:
    fact = rng.choice(sheet())
    return (rng.choice(fact.held_out) if held_out else _roughen(rng, _question(rng, fact))), fact


def plain(rng: Random, held_out: bool) -> Dialogue:
    """A question from the sheet and its answer."""
    question, fact = _ask(rng, held_out)
    return turn(question, fact.answer)


def styled(rng: Random, held_out: bool) -> Dialogue:
    """A question that wants its answer in three words or in one sentence."""
    question, fact = _ask(rng, held_out)
    three = rng.random() < 0.7
    manner = rng.choice(_MANNERS).format(
        q=question, s=question.rstrip("?."), n="three words" if three else "one sentence"
    )
    return turn(manner[0].upper() + manner[1:], fact.three if three else fact.answer)


def facts(rng: Random, held_out: bool) -> Dialogue:
    """A question from the sheet; one in six says how long the answer may be."""
    return (styled if rng.random() < 1 / 6 else plain)(rng, held_out)


def held_out_questions() -> list[tuple[str, str]]:
    """Every held-out (question, answer), in the order of the sheet."""
    return [(question, fact.answer) for fact in sheet() for question in fact.held_out]
