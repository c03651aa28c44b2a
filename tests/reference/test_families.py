"""The families' golden logits against transformers, which computed them (tests/reference/record.py); needs torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.checkpoint import write_checkpoint
from model_export.export import export
from model_export.options import ExportOptions
from model_export.reading import read_artefact
from model_export.running import run_graph
from model_export.source import Source
from tests.families.checks import GOLDEN, IDS, WANTED, some_ids
from tests.families.every import CONFIGS
from tests.families.test_phi3 import PHI4
from tests.golden_cases import relative_error
from tests.reference.families import family_logits
from tests.reference.models import load, logits


@pytest.mark.parametrize("name", CONFIGS)
def test_the_golden_file_is_up_to_date(name: str, tmp_path: Path) -> None:
    with np.load(GOLDEN) as recorded:
        assert relative_error(recorded[name], family_logits(CONFIGS[name], tmp_path / "checkpoint")) < 1e-5


@pytest.mark.parametrize("name", CONFIGS)
def test_every_position_is_that_of_transformers(name: str, tmp_path: Path) -> None:
    write_checkpoint(CONFIGS[name], tmp_path / "checkpoint")
    export(Source(tmp_path / "checkpoint", name, None), tmp_path / "out", ExportOptions("none"))
    ids = some_ids(60, 300, seed=1)
    found = run_graph(read_artefact(tmp_path / "out"), ids)
    assert relative_error(found, logits(load(tmp_path / "checkpoint"), ids)) < 1e-4


def test_a_long_context_has_the_long_factors(tmp_path: Path) -> None:
    write_checkpoint(PHI4, tmp_path / "checkpoint")
    export(Source(tmp_path / "checkpoint", "phi", None), tmp_path / "out", ExportOptions("none", context=256))
    ids = some_ids(200, 300)
    found = run_graph(read_artefact(tmp_path / "out"), ids)
    assert relative_error(found, logits(load(tmp_path / "checkpoint"), ids)) < 1e-4


def test_the_golden_logits_are_of_these_positions() -> None:
    with np.load(GOLDEN) as recorded:
        assert all(recorded[name].shape == (len(WANTED), 300) for name in CONFIGS)
    assert max(WANTED) < len(IDS)
