"""Repeating names, words and numbers exactly: the simplest copy, on which extraction and memory build."""

from __future__ import annotations

from random import Random

from demo.words import Dialogue, draw, family_name, given_name, place_name, pseudo_word, turn

_ASK = (
    "Repeat: {x}", "Repeat after me: {x}", "Say: {x}", "Repeat this: {x}", "Please repeat: {x}",
    "Copy this: {x}",
)  # fmt: skip


def _number(rng: Random) -> str:
    return str(rng.randrange(10 ** rng.randint(1, 5)))


def _series(rng: Random) -> str:
    """One to eight items; the first is a name or a number: the same tokens with or without a space before."""
    names = (given_name, family_name, place_name, _number)
    rest = [rng.choice((*names, pseudo_word))(rng) for _ in range(rng.randint(0, 7))]
    return " ".join([rng.choice(names)(rng), *rest])


def repetition(rng: Random, held_out: bool) -> Dialogue:
    """Something without meaning, to be said again."""
    series = draw(rng, held_out, _series)
    return turn(rng.choice(_ASK).format(x=series), series)
