"""The training text: which skills, in which proportion. Example i of seed s is always the same.

Everything is generated; there is nothing to download. The evaluation (`demo.evaluation`) calls the same
generators for keys and phrasings that are never drawn here.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from demo.arithmetic import arithmetic, ordering
from demo.dialogue import dialogue, long_memory, outside
from demo.extraction import extraction
from demo.facts import facts
from demo.repetition import repetition
from demo.schemas import schemas
from demo.stories import checkable, stories
from demo.tools import tools
from demo.words import Dialogue, Skill

Mixture = dict[Skill, float]  # skill -> share of the examples

COPYING: Mixture = {
    repetition: 0.42, arithmetic: 0.19, extraction: 0.13, dialogue: 0.09, facts: 0.09, tools: 0.04, schemas: 0.04,
}  # fmt: skip
EVERYTHING: Mixture = {
    facts: 0.13,
    arithmetic: 0.28,
    extraction: 0.14,
    stories: 0.07,
    dialogue: 0.10,
    long_memory: 0.01,  # few, but long: they train the positions up to 1,024
    repetition: 0.04,
    tools: 0.13,
    schemas: 0.10,
}
PRACTICE: Mixture = {
    facts: 0.11,
    arithmetic: 0.17,
    ordering: 0.09,
    extraction: 0.10,
    stories: 0.05,
    checkable: 0.11,
    dialogue: 0.07,
    outside: 0.04,
    long_memory: 0.01,
    repetition: 0.02,
    tools: 0.13,
    schemas: 0.10,
}
OBJECTS: Mixture = {
    facts: 0.10,
    arithmetic: 0.18,
    ordering: 0.08,
    extraction: 0.08,
    stories: 0.03,
    checkable: 0.09,
    dialogue: 0.07,
    outside: 0.04,
    long_memory: 0.01,
    repetition: 0.02,
    tools: 0.15,
    schemas: 0.15,
}
COPYING_EXAMPLES = range(16_000)  # first: extraction, memory and retelling wait for it
PRACTICE_EXAMPLES = range(60_800, 70_400)  # later: more of what lagged behind
OBJECTS_EXAMPLES = range(70_400, 1_000_000)  # and, at last, of tools and schemas


def mixture(index: int) -> Mixture:
    """The mixture that this example is drawn from."""
    if index in COPYING_EXAMPLES:
        return COPYING
    if index in OBJECTS_EXAMPLES:
        return OBJECTS
    return PRACTICE if index in PRACTICE_EXAMPLES else EVERYTHING


SYSTEM_PROMPTS = (
    "You are a helpful assistant.", "You are the demo model of Firebrick.",
    "You are a helpful, honest assistant.", "Answer briefly.",
    "You are a friendly assistant. Keep answers short.", "Be concise and precise.",
)  # fmt: skip


def example(seed: int, index: int) -> Dialogue:
    """The example with this number: one dialogue, one in six with a system prompt if it has none of its own."""
    rng = Random(f"{seed}/{index}")
    shares = mixture(index)
    skill = rng.choices(list(shares), list(shares.values()))[0]
    dialogue = skill(rng, False)
    if dialogue[0]["role"] != "system" and rng.random() < 1 / 6:
        return [{"role": "system", "content": rng.choice(SYSTEM_PROMPTS)}, *dialogue]
    return dialogue


def examples(seed: int, start: int, count: int) -> Iterator[Dialogue]:
    """`count` examples from number `start` on."""
    return (example(seed, index) for index in range(start, start + count))
