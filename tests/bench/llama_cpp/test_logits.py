from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from bench.llama_cpp.errors import NotBuilt, RunFailed
from bench.llama_cpp.logits import GgufJudged
from tests.bench.llama_cpp.conftest import Install

# In place of our program: the likeliest token is the sum of a token and its position, of 8.
ADDER = f"""#!{sys.executable}
import struct, sys
sys.stdout.buffer.write(struct.pack("<i", 8))
sys.stdout.buffer.flush()
while head := sys.stdin.buffer.read(8):
    past, count = struct.unpack("<2i", head)
    for at, token in enumerate(struct.unpack(f"<{{count}}i", sys.stdin.buffer.read(4 * count)), past):
        sys.stdout.buffer.write(struct.pack("<8f", *(float(i == (token + at) % 8) for i in range(8))))
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def adder(install: Install) -> Path:
    return install("firebrick-logits", ADDER)


def test_logits_have_a_row_for_each_token(adder: Path) -> None:
    with GgufJudged(Path("x.gguf"), (), 16, 1) as judged:
        found = judged.logits(np.array([3, 1, 1], dtype=np.int64))
    assert found.shape == (3, 8)
    assert found.argmax(axis=1).tolist() == [3, 2, 3]


def test_greedy_continues_from_the_cache(adder: Path) -> None:
    with GgufJudged(Path("x.gguf"), (), 16, 1) as judged:
        assert judged.greedy([1, 1], 4) == [2, 4, 7, 3]


def test_greedy_stops_before_an_end_of_text(adder: Path) -> None:
    with GgufJudged(Path("x.gguf"), {7}, 16, 1) as judged:
        assert judged.greedy([1, 1], 4) == [2, 4]


def test_a_file_that_is_refused_is_an_error(install: Install) -> None:
    install("firebrick-logits", "#!/bin/sh\nexit 2\n")
    with pytest.raises(RunFailed, match=r"exit code 2 at x\.gguf"):
        GgufJudged(Path("x.gguf"), (), 16, 1)


def test_a_program_that_dies_is_an_error(install: Install) -> None:
    install("firebrick-logits", "#!/bin/sh\nprintf '\\010\\0\\0\\0'\nexit 5\n")
    with GgufJudged(Path("x.gguf"), (), 16, 1) as judged, pytest.raises(RunFailed, match="exit code 5"):
        judged.logits(np.array([1], dtype=np.int64))


def test_it_has_to_be_built(directory: Path) -> None:
    with pytest.raises(NotBuilt):
        GgufJudged(Path("x.gguf"), (), 16, 1)
