"""Small talk, what the model doesn't know, and conversations that need a memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from demo.arithmetic import arithmetic
from demo.extraction import extraction
from demo.facts import facts
from demo.stories import stories
from demo.words import Dialogue, draw, full_name, given_name, place_name, pseudo_word, turn, words

UNKNOWN = "I don't know. I only know about Firebrick and Lambda, small sums, extraction and short stories."

_SMALL_TALK = (
    (("Hello", "Hi", "Hi!", "Hello!", "Hey", "Hey there", "Good morning", "Good evening!", "Hello there!"),
     "Hello! Ask me about Firebrick or Lambda, or give me a sum, a text or a story."),
    (("Thanks", "Thank you", "Thanks!", "Thank you!", "Thanks a lot", "Great, thanks!", "Many thanks."),
     "You're welcome!"),
    (("Bye", "Goodbye", "Bye!", "See you", "See you later!", "Good night"), "Goodbye!"),
    (("How are you?", "How do you do?", "How are you today?", "Are you well?"),
     "I am fine, thank you. What can I do for you?"),
    (("Ok", "OK.", "I see.", "Good.", "Nice.", "Great!", "All right."), "Good. What else can I do for you?"),
)  # fmt: skip

_OUTSIDE = (
    "What is the capital of {p}?", "Who is {n}?", "Who wrote {w}?", "How old is {n}?", "Where is {p}?",
    "What is a {w}?", "What does {w} mean?", "How do I cook {w}?", "Who won the {w} cup?",
    "What is the weather in {p}?", "How far is it to {p}?", "Translate {w} into {w2}.",
    "When was {n} born?", "How many people live in {p}?", "Write a poem about {w}.",
    "What time is it in {p}?", "Who is the president of {p}?", "What is the best {w}?",
    "Tell me about {p}.", "Tell me about {n}.", "What is the price of {w}?", "What's {w}?", "Explain {w}.",
    "Is {w} healthy?", "Can you recommend a {w}?", "Which {w} should I buy?", "How does {w} work?",
    "Do you like {w}?", "Who invented the {w}?", "Where can I buy {w}?", "What happened in {y}?",
    "How tall is {n}?", "Why is the {w} {w2}?", "What is the meaning of {w}?", "Sing a song about {w}.",
    "Who painted {w}?", "How do you say {w} in {w2}?", "What is the population of {p}?",
    "Which language do they speak in {p}?", "How do I fix my {w}?",
)  # fmt: skip
_MORE_OUTSIDE = (
    "What is the colour of {w}?", "When did {n} die?", "What was in {y}?", "What is the biggest lake in {p}?",
    "How much is a {w}?", "How many {w} are there?", "What is the longest river of {p}?", "How big is {p}?",
    "Who is the king of {p}?", "Who found {w}?", "What is the smallest {w}?", "How long is a {w}?",
    "How fast is a {w}?", "How heavy is a {w}?", "What does a {w} cost?", "When did the {w} start?",
    "Since when is there {w}?", "Which {w} is the largest?", "What is the maximum speed of a {w}?",
    "Can {w} fly?", "Is {p} a city?", "Does {n} like {w}?", "Where was {n} born?", "Who knows {n}?",
    "What's the name of the {w} of {p}?", "When does the {w} begin?", "Is the {w} {w2}?",
    "How much {w} is in {w2}?", "Which is the largest {w} of {p}?", "How do I make {w}?",
)  # fmt: skip
_OUTSIDE_HELD_OUT = (
    "Who discovered {w}?", "What is the largest city of {p}?", "How do I get to {p}?",
    "What colour is a {w}?", "Who was {n}?", "Where does {n} live?", "How much does a {w} cost?",
    "When did {y} begin?",
)  # fmt: skip
_WORDS = words(
    "water sugar bread football music piano tea coffee gold rain snow moon sun tree flower fish cheese "
    "wine paint history love physics atom planet elephant dinosaur guitar pizza pasta soup tennis chess "
    "movie film song dance hair phone car train plane ship ocean river mountain medicine doctor school "
    "law money bank tax stock bitcoin python java linux docker kubernetes azure google facebook twitter "
    "french german spanish chinese english latin war peace king queen rome dog food"
)
_PLACES = words(
    "France Germany Italy Spain China Japan India Brazil Canada Peru Egypt Kenya Norway London Paris "
    "Berlin Tokyo Rome Madrid Vienna Lisbon Oslo Africa Europe Asia Poland Sweden Mexico Chile Greece "
    "Turkey"
)

_COLOURS = words("red blue green yellow orange purple black white brown pink grey")


@dataclass(frozen=True)
class Memory:
    """A kind of thing that a user tells and asks for later; {x} is its value."""

    value: Callable[[Random, bool], str]
    tell: tuple[str, ...]
    confirm: str
    ask: tuple[str, ...]
    answer: str


_MEMORIES = (
    Memory(
        lambda rng, held_out: draw(rng, held_out, given_name),
        (
            "My name is {x}.",
            "I am {x}.",
            "I'm {x}.",
            "Hi, my name is {x}.",
            "Hello, I am {x}.",
            "Call me {x}.",
        ),
        "Nice to meet you, {x}.",
        ("What is my name?", "What's my name?", "Who am I?", "Do you remember my name?", "How am I called?"),
        "Your name is {x}.",
    ),
    Memory(
        lambda rng, held_out: draw(rng, held_out, lambda r: str(r.randrange(10 ** r.choice((2, 3, 4))))),
        (
            "Remember the number {x}.",
            "My number is {x}.",
            "Please remember {x}.",
            "Keep the number {x} in mind.",
        ),
        "I will remember {x}.",
        ("What was the number?", "What is my number?", "Which number did I tell you?", "What number was it?"),
        "The number is {x}.",
    ),
    Memory(
        lambda rng, _: rng.choice(_COLOURS),
        ("My favourite colour is {x}.", "I like {x} best.", "{x} is my favourite colour."),
        "A nice colour, {x}.",
        ("What is my favourite colour?", "Which colour do I like?", "What colour do I like best?"),
        "You like {x}.",
    ),
    Memory(
        lambda rng, held_out: draw(rng, held_out, place_name),
        ("I live in {x}.", "I come from {x}.", "My home is {x}.", "I am from {x}."),
        "I hope it is nice in {x}.",
        ("Where do I live?", "Where am I from?", "Which town do I come from?", "Where is my home?"),
        "You live in {x}.",
    ),
)
_MEMORY_WEIGHTS = (4, 3, 1, 2)


def small_talk(rng: Random, _held_out: bool) -> Dialogue:
    """Greeting, thanks, farewell: closed lists, the same in training and evaluation."""
    asks, answer = rng.choice(_SMALL_TALK)
    return turn(rng.choice(asks), answer)


def _outside(rng: Random, frames: tuple[str, ...]) -> Dialogue:
    def word() -> str:
        return rng.choice(_WORDS) if rng.random() < 0.5 else pseudo_word(rng)

    place = rng.choice(_PLACES) if rng.random() < 0.5 else place_name(rng)
    frame = rng.choice(frames)
    question = frame.format(p=place, n=full_name(rng), w=word(), w2=word(), y=rng.randrange(1500, 2030))
    return turn(question, UNKNOWN)


def unknown(rng: Random, held_out: bool) -> Dialogue:
    """A question outside of everything that was learnt; the frame is what's held out."""
    return _outside(rng, _OUTSIDE_HELD_OUT if held_out else _OUTSIDE)


def outside(rng: Random, held_out: bool) -> Dialogue:
    """The same with more frames, some of which look like a question of the fact sheet."""
    return _outside(rng, _OUTSIDE_HELD_OUT if held_out else _MORE_OUTSIDE)


def _introduce(rng: Random, held_out: bool, kind: Memory) -> tuple[Dialogue, Dialogue]:
    """(telling the model something, asking for it later)."""
    x = kind.value(rng, held_out)
    tell = turn(rng.choice(kind.tell).format(x=x), kind.confirm.format(x=x))
    return tell, turn(rng.choice(kind.ask), kind.answer.format(x=x))


def _two_kinds(rng: Random) -> tuple[Memory, Memory]:
    first, second = rng.choices(_MEMORIES, _MEMORY_WEIGHTS, k=2)
    return (first, second) if first is not second else _two_kinds(rng)


def _filler(rng: Random) -> Dialogue:
    """Something in between; what it asks has nothing to do with the memory."""
    skills = (facts, arithmetic, extraction, stories, small_talk, unknown)
    return rng.choices(skills, (5, 4, 1, 1, 3, 1))[0](rng, False)


def memory(rng: Random, held_out: bool, most_fillers: int = 3) -> Dialogue:
    """One or two things told, other talk in between, then the question; sometimes for what was never told."""
    kind, other_kind = _two_kinds(rng)
    tell, ask = _introduce(rng, held_out, kind)
    other, other_ask = _introduce(rng, held_out, other_kind)
    if rng.random() < 0.12:
        return tell + never_told(other_ask)
    dialogue = tell + other if rng.random() < 0.35 else tell
    for _ in range(rng.randint(0, most_fillers)):
        dialogue = dialogue + _filler(rng)
    return dialogue + ask


def never_told(ask: Dialogue) -> Dialogue:
    """The question for something that was not told."""
    return turn(ask[0]["content"], "You have not told me.")


def long_memory(rng: Random, held_out: bool) -> Dialogue:
    """Memory over up to sixteen turns, to train the positions up to 1,024."""
    return memory(rng, held_out, most_fillers=16)


def chat(rng: Random, held_out: bool) -> Dialogue:
    """A conversation of several skills; the last answer is checked."""
    dialogue: Dialogue = []
    for _ in range(rng.randint(1, 5)):
        dialogue = dialogue + _filler(rng)
    return dialogue + rng.choice((facts, arithmetic, small_talk, unknown))(rng, held_out)


def dialogue(rng: Random, held_out: bool) -> Dialogue:
    """One of the kinds of talk."""
    if rng.random() < 0.1:
        return never_told(_introduce(rng, held_out, rng.choice(_MEMORIES))[1])
    return rng.choices((small_talk, unknown, memory, chat), (12, 30, 38, 20))[0](rng, held_out)
