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
from demo.stories import checkable, stories
from demo.words import Dialogue, Skill

Mixture = dict[Skill, float]  # skill -> share of the examples

COPYING: Mixture = {repetition: 0.45, arithmetic: 0.20, extraction: 0.15, dialogue: 0.10, facts: 0.10}
EVERYTHING: Mixture = {
    facts: 0.16,
    arithmetic: 0.35,
    extraction: 0.21,
    stories: 0.09,
    dialogue: 0.13,
    long_memory: 0.01,  # few, but long: they train the positions up to 1,024
    repetition: 0.05,
}
PRACTICE: Mixture = {
    facts: 0.13,
    arithmetic: 0.22,
    ordering: 0.12,
    extraction: 0.15,
    stories: 0.06,
    checkable: 0.14,
    dialogue: 0.09,
    outside: 0.05,
    long_memory: 0.01,
    repetition: 0.03,
}
COPYING_EXAMPLES = range(16_000)  # first: extraction, memory and retelling wait for it
PRACTICE_EXAMPLES = range(60_800, 1_000_000)  # later: more of what lagged behind


def mixture(index: int) -> Mixture:
    """The mixture that this example is drawn from."""
    if index in COPYING_EXAMPLES:
        return COPYING
    return PRACTICE if index in PRACTICE_EXAMPLES else EVERYTHING


SYSTEM_PROMPTS = (
    "You are a helpful assistant.", "You are the demo model of Firebrick.",
    "You are a helpful, honest assistant.", "Answer briefly.",
    "You are a friendly assistant. Keep answers short.", "Be concise and precise.",
)  # fmt: skip


def example(seed: int, index: int) -> Dialogue:
    """The example with this number: one dialogue, one in six with a system prompt."""
    rng = Random(f"{seed}/{index}")
    shares = mixture(index)
    skill = rng.choices(list(shares), list(shares.values()))[0]
    dialogue = skill(rng, False)
    if rng.random() < 1 / 6:
        return [{"role": "system", "content": rng.choice(SYSTEM_PROMPTS)}, *dialogue]
    return dialogue


def examples(seed: int, start: int, count: int) -> Iterator[Dialogue]:
    """`count` examples from number `start` on."""
    return (example(seed, index) for index in range(start, start + count))
