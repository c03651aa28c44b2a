"""Every test of a family runs for each of its configurations, which are exported once."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.checkpoint import write_checkpoint
from tests.families.checks import Exports


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames and metafunc.cls is not None:
        metafunc.parametrize("name", metafunc.cls.CONFIGS, scope="class")


@pytest.fixture(scope="class")
def exports(name: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """A random checkpoint of a configuration, and its artefacts."""
    directory: Path = tmp_path_factory.mktemp("family")
    write_checkpoint(request.cls.CONFIGS[name], directory / "checkpoint")
    return Exports(directory)
