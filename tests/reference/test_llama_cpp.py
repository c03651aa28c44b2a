"""llama.cpp on the unquantized checkpoint against ours; needs torch, and llama.cpp built by bench.llama_cpp."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from bench.llama_cpp.build import LOGITS, program
from bench.llama_cpp.convert import converted
from bench.llama_cpp.errors import NotBuilt
from bench.llama_cpp.logits import GgufJudged
from bench.logits import Judged
from model_export.export import export
from model_export.source import Source
from tests.conftest import ROOT
from tests.golden_cases import FLOAT, relative_error, sequence

DEMO = ROOT / "demo" / "checkpoint"

try:
    program(LOGITS, "avx2")
except NotBuilt as error:
    pytest.skip(str(error), allow_module_level=True)


def test_both_give_the_same_logits(tmp_path: Path) -> None:
    export(Source(DEMO, "demo", None), tmp_path / "float", FLOAT)
    ours = Judged(tmp_path / "float", 1)
    ids = np.asarray(sequence(ours.artefact.vocab_size, 200), dtype=np.int64)
    for _, gguf in converted(Source(DEMO, "demo", None), ["F32"], tmp_path, Path(sys.executable), 1):
        with GgufJudged(gguf, ours.artefact.eos_token_ids, 256, 1) as theirs:
            assert relative_error(theirs.logits(ids), ours.logits(ids)) < 1e-4
            assert theirs.greedy(ids[:20].tolist(), 20) == ours.greedy(ids[:20].tolist(), 20)
