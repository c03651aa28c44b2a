"""An engine to measure: it counts what its graph was run for."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handler.artefact import GRAPH, Artefact, load_artefact
from handler.engine.cancellation import Cancellation
from handler.engine.engine import Engine, EngineOptions
from handler.engine.kernels import cheap_rows, given_library, library_of
from handler.engine.sampling import Choice
from handler.engine.session import create_session
from handler.engine.step import Step
from handler.engine.threads import resolve_threads


class TimedSession:
    """An onnxruntime session that adds up how long it runs.

    Attributes:
        seconds: inside of onnxruntime so far.
    """

    def __init__(self, session: Any) -> None:
        """Wrap a session of `handler.engine.session.create_session`."""
        self._session = session
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run_with_iobinding(self, bound: Any, options: Any) -> None:
        """Run the graph as the session does."""
        started = time.perf_counter()
        self._session.run_with_iobinding(bound, options)
        self.seconds += time.perf_counter() - started


class CountedStep(Step):
    """Steps that are counted.

    Attributes:
        count: steps so far.
        tokens: that went through the graph in them.
    """

    count = 0
    tokens = 0

    def run(
        self,
        slots: Sequence[int],
        ids: NDArray[np.int64],
        starts: Sequence[int],
        wanted: Sequence[int],
        cancellations: Iterable[Cancellation] = (),
        choices: Sequence[Choice] = (),
    ) -> NDArray[np.float32]:
        """As it was; counts too."""
        self.count += 1
        self.tokens += ids.size
        return super().run(slots, ids, starts, wanted, cancellations, choices)


class Loaded:
    """An artefact and its session, around which several engines may be put.

    Attributes:
        artefact: what was loaded.
        session: theirs together.
    """

    def __init__(self, model_dir: Path) -> None:
        """Load an artefact whose weights' hash is left out.

        Raises:
            StartupError: it is none, or the library of native kernels that it asks for can't be used.
        """
        self.artefact: Artefact = load_artefact(model_dir, "quick")
        library = library_of(self.artefact, given_library(os.environ))
        self.session = TimedSession(create_session(model_dir / GRAPH, resolve_threads(os.environ), library=library))
        self._rows = cheap_rows(library) if library else 1

    def engine(self, options: EngineOptions) -> tuple[Engine, CountedStep]:
        """Put an engine with a cache of its own around the session; gives its counted steps too."""
        engine = Engine(self.session, self.artefact, options, rows=self._rows)
        steps = CountedStep(self.session, engine.slots.cache, self.artefact.vocab_size)
        engine.steps = steps
        return engine, steps
