"""Batches: the examples of one step, sorted by length and cut into micro-batches with little padding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from demo.corpus import examples
from demo.tokenizer import IDS, PAD, encode

CONTEXT = 1024  # tokens; a longer example is left out
EXAMPLES_PER_STEP = 64
TOKENS_PER_MICRO_BATCH = 1024  # with padding; small enough that the threads come to an end together


@dataclass(frozen=True)
class MicroBatch:
    """Right-padded sequences; causal attention never looks at the padding, so it needs no mask."""

    ids: NDArray[np.int64]  # (B, T)
    learnt: NDArray[np.bool_]  # (B, T), whether the token is an answer's


def step_batches(tokenizer: Tokenizer, seed: int, step: int) -> list[MicroBatch]:
    """The micro-batches of a step, which depend on seed and step alone: resuming needs no data state."""
    dialogues = examples(seed, step * EXAMPLES_PER_STEP, EXAMPLES_PER_STEP)
    encoded = [encode(tokenizer, dialogue) for dialogue in dialogues]
    fitting = sorted((pair for pair in encoded if len(pair[0]) <= CONTEXT), key=lambda pair: len(pair[0]))
    groups: list[list[tuple[list[int], list[bool]]]] = [[]]
    for pair in fitting:
        if groups[-1] and (len(groups[-1]) + 1) * len(pair[0]) > TOKENS_PER_MICRO_BATCH:
            groups.append([])
        groups[-1].append(pair)
    return [_pad(group) for group in groups]


def _pad(group: list[tuple[list[int], list[bool]]]) -> MicroBatch:
    width = max(len(ids) for ids, _ in group)
    ids = np.full((len(group), width), IDS[PAD], np.int64)
    learnt = np.zeros((len(group), width), np.bool_)
    for row, (sequence, marks) in enumerate(group):
        ids[row, : len(sequence)] = sequence
        learnt[row, : len(marks)] = marks
    return MicroBatch(ids, learnt)
