"""Values for arguments and fields: each kind draws a value and the words that a text says it with."""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from demo.extraction import MONTHS, code, goods, iso_date
from demo.offers import Schema
from demo.words import draw, family_name, full_name, given_name, place_name, pseudo_word, words

CITIES = (
    *words(
        "Oslo Paris London Berlin Rome Madrid Vienna Lisbon Tokyo Zürich Málaga Kraków Boston Chicago Seattle Denver "
        "Austin Munich Hamburg Milan Dublin Prague Delhi Mumbai Cairo Sydney Toronto Lima Bern Basel Kyoto"
    ),
    "New York", "San Francisco", "Los Angeles", "São Paulo", "Hong Kong", "Cape Town", "Paris, France", "Boston, MA",
    "San Francisco, CA", "Rio", "Tel Aviv", "Las Vegas",
)  # fmt: skip
THINGS = words(
    "music coffee tea bread pizza pasta chess tennis history weather train plane car bike phone laptop camera guitar "
    "piano garden river mountain ocean planet castle museum hotel movie book poem recipe doctor school bank tax stock"
)
ADJECTIVES = words("red blue green old new small large cheap best good fast warm cold quiet modern local daily free")
TOPICS = words(
    "Hello Thanks Question Update meeting report project budget party lunch dinner workshop review launch trip concert "
    "training call"
)


@dataclass(frozen=True)
class Value:
    """A value and how a text says it."""

    json: Any
    said: str


STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}

Kind = Callable[[Random, bool], Value]  # (rng, held_out) -> value


def _same(text: str) -> Value:
    return Value(text, text)


def city(rng: Random, held_out: bool) -> Value:
    """A town, real or made up."""
    if not held_out and rng.random() < 0.45:
        return _same(rng.choice(CITIES))
    return _same(draw(rng, held_out, place_name))


def person(rng: Random, held_out: bool) -> Value:
    """A name, with or without the family's."""
    return _same(draw(rng, held_out, full_name if rng.random() < 0.5 else given_name))


def first_name(rng: Random, held_out: bool) -> Value:
    """A first name."""
    return _same(draw(rng, held_out, given_name))


def last_name(rng: Random, held_out: bool) -> Value:
    """A family name."""
    return _same(draw(rng, held_out, family_name))


def integer(rng: Random, _held_out: bool) -> Value:
    """A whole number below 10,000, mostly small."""
    number = rng.randrange(10 ** rng.choices((1, 2, 3, 4), (2, 5, 3, 1))[0])
    return Value(number, str(number))


def small(rng: Random, _held_out: bool) -> Value:
    """A number of people or things."""
    number = rng.randint(1, 20)
    return Value(number, str(number))


def age(rng: Random, _held_out: bool) -> Value:
    """Somebody's age in years."""
    number = rng.randint(1, 99)
    return Value(number, str(number))


def number(rng: Random, held_out: bool) -> Value:
    """A number, half of the time with a fraction."""
    if rng.random() < 0.5:
        return integer(rng, held_out)
    return price(rng, held_out)


def price(rng: Random, _held_out: bool) -> Value:
    """A number with one or two places, written without a zero at its end."""
    places = rng.choice((1, 2, 2))
    text = f"{rng.randrange(1000)}.{rng.randrange(10 ** (places - 1)):0{places - 1}d}{rng.randint(1, 9)}"
    if places == 1:
        text = f"{rng.randrange(1000)}.{rng.randint(1, 9)}"
    return Value(float(text), text)


def identifier(rng: Random, held_out: bool) -> Value:
    """A code such as KD-4821, or letters and digits of another form."""
    form = rng.random()
    if form < 0.6:
        return _same(draw(rng, held_out, code))
    if form < 0.8:
        return _same(draw(rng, held_out, lambda r: f"{r.choice(string.ascii_uppercase)}{r.randrange(10, 10**5)}"))
    return _same(draw(rng, held_out, lambda r: str(r.randrange(1000, 10**6))))


def symbol(rng: Random, held_out: bool) -> Value:
    """A ticker symbol."""
    known = words("AAPL MSFT GOOG AMZN TSLA NVDA META IBM SAP ORCL")
    if not held_out and rng.random() < 0.5:
        return _same(rng.choice(known))
    return _same(draw(rng, held_out, lambda r: "".join(r.choices(string.ascii_uppercase, k=r.randint(2, 4)))))


def address(rng: Random, held_out: bool) -> Value:
    """An e-mail address."""
    name = draw(rng, held_out, lambda r: given_name(r) if r.random() < 0.6 else family_name(r)).lower()
    host = rng.choice((*words("example mail post web office shop"), pseudo_word(rng)))
    return _same(f"{name}@{host}.{rng.choice(words('com org net de io'))}")


def day(rng: Random, _held_out: bool) -> Value:
    """A date or a day."""
    form = rng.random()
    if form < 0.35:
        return _same(iso_date(rng))
    if form < 0.7:
        return _same(f"{rng.randrange(1, 29)} {rng.choice(MONTHS)}")
    return _same(rng.choice(words("today tomorrow Monday Tuesday Wednesday Thursday Friday Saturday Sunday")))


def clock(rng: Random, _held_out: bool) -> Value:
    """A time of the day."""
    form = rng.random()
    if form < 0.6:
        return _same(f"{rng.randrange(24):02}:{rng.choice((0, 0, 15, 30, 45)):02}")
    if form < 0.8:
        return _same(f"{rng.randint(1, 12)} {rng.choice(('am', 'pm'))}")
    return _same(f"{rng.randint(1, 12)}{rng.choice(('am', 'pm'))}")


def thing(rng: Random, held_out: bool) -> Value:
    """A noun, sometimes with an adjective, familiar or not."""
    noun = rng.choice(THINGS) if not held_out and rng.random() < 0.5 else draw(rng, held_out, pseudo_word)
    return _same(f"{rng.choice(ADJECTIVES)} {noun}" if rng.random() < 0.4 else noun)


def product(rng: Random, _held_out: bool) -> Value:
    """Goods of a shop."""
    return _same(goods(rng))


def topic(rng: Random, _held_out: bool) -> Value:
    """What a message or a meeting is about."""
    noun = rng.choice(TOPICS)
    described = f"{rng.choice(ADJECTIVES)} {noun.lower()}"
    return _same(rng.choice((noun, noun.capitalize(), described, f"the {noun.lower()}")))


def event(rng: Random, _held_out: bool) -> Value:
    """What people go to, without an article."""
    noun = rng.choice(TOPICS[4:])
    return _same(f"{rng.choice(ADJECTIVES)} {noun}" if rng.random() < 0.4 else noun)


def listing(kind: Kind) -> Kind:
    """One to four different values of a kind, said as a list."""

    def several(rng: Random, held_out: bool) -> Value:
        values = list({value.said: value for value in (kind(rng, held_out) for _ in range(rng.randint(1, 4)))}.values())
        return Value([value.json for value in values], listed([value.said for value in values]))

    return several


def listed(items: list[str]) -> str:
    """Words as a sentence lists them."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def choice(*options: str) -> Kind:
    """One of these words."""
    return lambda rng, _held_out: _same(rng.choice(options))


def enum(*options: str) -> Schema:
    """The schema of one of these words."""
    return {"type": "string", "enum": list(options)}
