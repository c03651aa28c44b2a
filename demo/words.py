"""Words, names and the rule that keeps training and evaluation apart.

Every random draw takes the `random.Random` that it should use; nothing here has state.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from random import Random

Message = dict[str, str]  # {"role": "system" | "user" | "assistant" | "tool", "content": text}
Dialogue = list[Message]
Skill = Callable[[Random, bool], Dialogue]  # (rng, held_out) -> a dialogue that ends with the expected answer


def words(text: str) -> list[str]:
    """A list of words, written as one string."""
    return text.split()


_ONSETS = words("B Br C Cl D Dr F G Gr H J K L M N P R S St T Tr V W Z")
_VOWELS = words("a e i o u a e i o ai ea")
_MIDDLES = words("l n r s t v m d k b nd rl st rt lm th ss ll nn")
_GIVEN_ENDS = words("a o i an en el in is us ah ia ne")
_FAMILY_ENDS = words("son strom ley man ford berg ini ez ova sen ton er ard wick")
_PLACE_ENDS = words("ville ton burg field haven mouth dorf stad bridge port")

_KNOWN_GIVEN = words(
    "Ada Alan Alex Amira Anna Ben Bob Carla Carlos Chen Clara David Elena Emma Eva Finn Grace Hana Hans "
    "Igor Ines Ivan Jack Jane John Jonas Julia Karim Kate Laura Leo Lina Lucas Luis Maria Marta Max Mia "
    "Mona Nina Noah Olga Omar Otto Paul Peter Priya Rosa Sam Sara Sofia Tom Uma Vera Victor Wei Yuki Zoe "
    "Alice Michael Sarah James Robert Linda Daniel"
)


def is_held_out(key: str) -> bool:
    """Whether an item belongs to the evaluation: one key in ten, decided by the key alone."""
    return zlib.crc32(key.encode()) % 10 == 0


def draw(rng: Random, held_out: bool, make: Callable[[Random], str]) -> str:
    """Draw until the string lies on the wanted side of the split."""
    while True:
        value = make(rng)
        if is_held_out(value) == held_out:
            return value


def given_name(rng: Random) -> str:
    """A first name, half of the time a familiar one, else built from syllables."""
    if rng.random() < 0.5:
        return rng.choice(_KNOWN_GIVEN)
    return rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_MIDDLES) + rng.choice(_GIVEN_ENDS)


def family_name(rng: Random) -> str:
    """A family name built from syllables."""
    middle = rng.choice(_MIDDLES) + rng.choice(_VOWELS) if rng.random() < 0.4 else ""
    return rng.choice(_ONSETS) + rng.choice(_VOWELS) + middle + rng.choice(_MIDDLES) + rng.choice(_FAMILY_ENDS)


def full_name(rng: Random) -> str:
    """Given and family name, separated by a space."""
    return f"{given_name(rng)} {family_name(rng)}"


def place_name(rng: Random) -> str:
    """The name of a town that doesn't exist."""
    return rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_MIDDLES) + rng.choice(_PLACE_ENDS)


def pseudo_word(rng: Random) -> str:
    """A lower-case word that no skill knows."""
    syllables = rng.randint(1, 2)
    return "".join((rng.choice(_ONSETS).lower() + rng.choice(_VOWELS)) for _ in range(syllables)) + rng.choice(_MIDDLES)


def user(content: str) -> Message:
    """A message from the user."""
    return {"role": "user", "content": content}


def assistant(content: str) -> Message:
    """A message from the assistant: what the model learns to write."""
    return {"role": "assistant", "content": content}


def turn(question: str, answer: str) -> Dialogue:
    """One question and its answer."""
    return [user(question), assistant(answer)]
