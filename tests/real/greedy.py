"""Greedy text of an artefact held against llama.cpp's of the same file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.llama_cpp.build import LOGITS, program
from bench.llama_cpp.convert import quantize
from bench.llama_cpp.errors import NotBuilt
from bench.llama_cpp.logits import GgufJudged
from bench.logits import Judged

TOKENS = 64
NEAR = 1e-4  # of the largest logit: what float32 sums in another order differ by


def hold_against_llama_cpp(
    gguf: Path, floats: Path, prompts: Sequence[list[int]], work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Continue prompts with both; what differs must be a near-tie, and is shown. Skips if llama.cpp isn't there.

    Args:
        gguf: the file, whose weights llama.cpp gets in float32, or it would multiply with activations of 8 bits.
        floats: its artefact, unquantized.
        prompts: token ids.
        work: for the file in float32.
        capsys: to show near-ties all the same.
    """
    try:
        program(LOGITS, "avx2")
    except NotBuilt as error:
        pytest.skip(str(error))
    quantize(gguf, work / "f32.gguf", "F32", 2)
    ours = Judged(floats, 2)
    with GgufJudged(work / "f32.gguf", ours.artefact.eos_token_ids, 512, 2) as theirs:
        for prompt in prompts:
            pair = ours.greedy(prompt, TOKENS), theirs.greedy(prompt, TOKENS)
            common = next((i for i, (a, b) in enumerate(zip(*pair, strict=False)) if a != b), None)
            if common is None:
                assert pair[0] == pair[1]
                continue
            ids = np.array([*prompt, *pair[0][:common]], dtype=np.int64)
            gap = distance(ours.logits(ids)[-1], pair[0][common], pair[1][common])
            with capsys.disabled():
                print(f"\nnear-tie after {common} tokens: {gap:.1e} of the largest logit between the two")
            assert gap < NEAR


def distance(logits: NDArray[np.float32], first: int, second: int) -> float:
    """How far two tokens' logits are apart, relative to the largest."""
    return float(abs(logits[first] - logits[second]) / np.abs(logits).max())
