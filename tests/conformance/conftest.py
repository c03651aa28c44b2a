from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conformance.answering import Model

# All of it takes minutes: `make conformance` asks for it, `make test` takes a part.
EVERYTHING = os.environ.get("FIREBRICK_CONFORMANCE") == "all"


@pytest.fixture(scope="session")
def model(request: pytest.FixtureRequest) -> Model:
    from tests.kernels.models import LIBRARY

    artefact: Path = request.getfixturevalue("native_artefact" if LIBRARY.exists() else "demo_artefact")
    return Model(artefact)
