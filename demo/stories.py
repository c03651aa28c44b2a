"""Short stories from a grammar: telling, continuing, retelling and questions about them."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from demo.words import Dialogue, draw, given_name, is_held_out, turn, words

ANIMALS = words(
    "fox owl bear rabbit hedgehog badger mouse otter squirrel frog crow deer wolf turtle goose cat dog "
    "horse duck beaver raven mole lynx heron goat"
)
THINGS = words(
    "lantern key map bell drum feather coin book kite button compass flute cup ring stone shell rope seed "
    "mirror clock letter crown needle basket acorn"
)
QUALITIES = words("golden old tiny silver strange shiny broken red blue heavy wooden round lost warm little")
PLACES = words("forest garden valley harbour village meadow mill library cave market orchard castle tower swamp field")
TRAITS = words("brave shy clever curious gentle lazy cheerful patient proud hungry careful quiet")
WEATHER = (
    "one rainy morning", "one sunny day", "one cold night", "one windy evening", "on the first day of spring",
    "after a long winter", "early one morning", "just before dark",
)  # fmt: skip
DEEDS = {"gave": "gives", "showed": "shows", "brought": "brings", "lent": "lends"}  # past -> present
FEELINGS = words("happy surprised glad proud grateful calm")


@dataclass(frozen=True)
class Story:
    """What happens, before it's put into words."""

    name: str
    trait: str
    animal: str
    quality: str
    thing: str
    place: str
    when: str
    friend: str
    deed: str
    feeling: str
    telling: int  # which of the wordings each sentence takes

    @property
    def key(self) -> str:
        """What divides training from evaluation."""
        return f"{self.name} {self.thing} {self.place}"


def invent(rng: Random, held_out: bool, animal: str | None = None, thing: str | None = None) -> Story:
    """Draw a story, with the animal and the thing that were asked for."""
    while True:
        hero = animal or rng.choice(ANIMALS)
        friend = rng.choice([other for other in ANIMALS if other != hero])
        story = Story(
            draw(rng, held_out, given_name), rng.choice(TRAITS), hero, rng.choice(QUALITIES),
            thing or rng.choice(THINGS), rng.choice(PLACES), rng.choice(WEATHER), friend,
            rng.choice(list(DEEDS)), rng.choice(FEELINGS), rng.randrange(10**6),
        )  # fmt: skip
        if is_held_out(story.key) == held_out:
            return story


def _article(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def sentences(story: Story) -> list[str]:
    """The story in five sentences; `telling` picks each one's wording."""
    s = story
    thing = f"{_article(s.quality)} {s.thing}"
    wordings = (
        (f"Once there was {_article(s.trait)} {s.animal} called {s.name}.",
         f"{s.name} was {_article(s.trait)} {s.animal}.",
         f"Long ago there lived {_article(s.trait)} {s.animal} whose name was {s.name}."),
        (f"{s.when[0].upper()}{s.when[1:]} {s.name} went to the {s.place} and found {thing}.",
         f"{s.when[0].upper()}{s.when[1:]} {s.name} walked through the {s.place} and saw {thing}.",
         f"{s.when[0].upper()}{s.when[1:]} {s.name} was alone in the {s.place} and picked up {thing}."),
        (f"It belonged to {_article(s.friend)} who had looked for it for days.",
         f"Nobody knew what it was for, except {_article(s.friend)}.",
         f"Then {_article(s.friend)} came by and asked about it."),
        (f"{s.name} {s.deed} the {s.thing} to the {s.friend}.",
         f"So {s.name} {s.deed} the {s.thing} to the {s.friend}.",
         f"Without a word {s.name} {s.deed} the {s.thing} to the {s.friend}."),
        (f"The {s.friend} was {s.feeling}, and from then on they were friends.",
         f"The {s.friend} was {s.feeling}, and they shared supper that night.",
         f"The {s.friend} was {s.feeling}, and they went home together."),
    )  # fmt: skip
    return [options[s.telling // 3**i % 3] for i, options in enumerate(wordings)]


def full_text(story: Story) -> str:
    """The whole story, one paragraph."""
    return " ".join(sentences(story))


def one_sentence(story: Story) -> str:
    """The story retold in one sentence."""
    s = story
    found = f"{s.name} the {s.animal} found {_article(s.quality)} {s.thing} in the {s.place}"
    return f"{found} and {s.deed} it to the {s.friend}."


def three_words(story: Story) -> str:
    """The story in three words."""
    return f"{story.animal.capitalize()} finds {story.thing}."


def telling(rng: Random, held_out: bool) -> Dialogue:
    """A story about something, whole or in one sentence."""
    animal, thing = rng.choice(ANIMALS), rng.choice(THINGS)
    story = invent(rng, held_out, animal, thing)
    about, what = rng.choice(
        (
            (f"{_article(animal)} and {_article(thing)}", story),
            (_article(animal), invent(rng, held_out, animal)),
            (_article(thing), invent(rng, held_out, None, thing)),
        )
    )
    ask = rng.choice((
        "Tell me a story about {x}", "Write a short story about {x}", "Can you tell a story about {x}",
        "Tell a short story about {x}", "I would like a story about {x}", "Make up a story about {x}",
    )).format(x=about)  # fmt: skip
    if rng.random() < 0.35:
        return turn(f"{ask} in one sentence.", one_sentence(what))
    return turn(f"{ask}.", full_text(what))


def continuing(rng: Random, held_out: bool) -> Dialogue:
    """The first sentences are given, the rest is wanted."""
    parts = sentences(invent(rng, held_out))
    given = rng.choice((1, 2, 3))
    ask = rng.choice(("Continue this story:", "Continue:", "How does this story go on?", "Finish this story:"))
    return turn(f"{ask} {' '.join(parts[:given])}", " ".join(parts[given:]))


def retelling(rng: Random, held_out: bool) -> Dialogue:
    """The whole story is given; it's wanted in one sentence or in three words."""
    story = invent(rng, held_out)
    ask = rng.choice(
        ("Retell this story {n}:", "Tell this story {n}:", "Summarize this story {n}:", "Shorten this {n}:")
    )
    if rng.random() < 0.6:
        return turn(f"{ask.format(n='in one sentence')} {full_text(story)}", one_sentence(story))
    return turn(f"{ask.format(n='in three words')} {full_text(story)}", three_words(story))


def questions(story: Story) -> list[tuple[str, str]]:
    """Questions whose answers stand in the story."""
    s = story
    return [
        (f"Who found the {s.thing}?", f"{s.name} the {s.animal} found it."),
        (f"What did {s.name} find?", f"{s.name} found {_article(s.quality)} {s.thing}."),
        (f"Where was the {s.thing}?", f"The {s.thing} was in the {s.place}."),
        (f"Who got the {s.thing} in the end?", f"The {s.friend} got it."),
        (f"How did the {s.friend} feel?", f"The {s.friend} was {s.feeling}."),
    ]


def asking(rng: Random, held_out: bool) -> Dialogue:
    """A story, then one or two questions about it."""
    story = invent(rng, held_out)
    (first, answer), (second, reply) = rng.sample(questions(story), 2)
    dialogue = turn(f"{full_text(story)} {first}", answer)
    return dialogue + turn(second, reply) if rng.random() < 0.4 else dialogue


def stories(rng: Random, held_out: bool) -> Dialogue:
    """One of the four uses of a story."""
    return rng.choices((telling, continuing, retelling, asking), (30, 15, 35, 20))[0](rng, held_out)


def checkable(rng: Random, held_out: bool) -> Dialogue:
    """A use of a story that has one right answer."""
    return rng.choice((retelling, asking))(rng, held_out)
