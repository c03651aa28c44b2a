"""What several tests share: artefacts exported once a session."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

from bench.checkpoint import write_checkpoint
from model_export.convert import convert
from model_export.export import export
from model_export.options import ExportOptions
from model_export.source import Source
from tests.configs import CONFIGS

ROOT = Path(__file__).parent.parent

# A slow machine is no failure; and CI asks the same questions every time, so that it fails for a change only.
hypothesis.settings.register_profile("firebrick", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("firebrick")


@pytest.fixture(scope="session")
def demo_artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo checkpoint as an Int4 artefact, for embeddings too."""
    out = tmp_path_factory.mktemp("demo") / "artefact"
    export(Source(ROOT / "demo" / "checkpoint", "firebrick-demo", None), out, ExportOptions(embeddings="mean"))
    return out


@pytest.fixture(scope="session")
def native_artefact(demo_artefact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for native kernels, with an int8 cache."""
    out = tmp_path_factory.mktemp("native") / "artefact"
    convert(demo_artefact, out, "native", "int8")
    return out


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one random checkpoint for each of `tests.configs.CONFIGS`."""
    directory = tmp_path_factory.mktemp("checkpoints")
    for name, config in CONFIGS.items():
        write_checkpoint(config, directory / name)
    return directory


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A random checkpoint of one's own, to be damaged; weights in one file."""
    directory = tmp_path / "checkpoint"
    write_checkpoint(CONFIGS["llama-mha-tied"], directory)
    return directory
