"""What the log-probabilities of an answer are if all of it is run at once, in an empty cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handler.artefact import GRAPH, load_artefact
from handler.engine.cache import allocate
from handler.engine.kernels import library_of
from handler.engine.sequence import Token
from handler.engine.session import create_session
from handler.engine.step import Step
from tests.kernels.models import LIBRARY

# What int8 activations and an int8 cache make of other cuts; a wrong token, place or slot makes 5 on the average.
LARGEST, AVERAGE = 0.5, 0.08
ENOUGH = 20  # for an average; it is 0.02 for most texts


class Rescoring:
    """A model without an engine around it."""

    def __init__(self, directory: Path) -> None:
        artefact = load_artefact(directory, "quick")
        session = create_session(directory / GRAPH, 2, library=library_of(artefact, LIBRARY))
        self._step = Step(session, allocate(artefact), artefact.vocab_size)

    def check(self, prompt: Sequence[int], tokens: Sequence[Token]) -> None:
        """Hold an answer's log-probabilities against those of the whole."""
        ids = np.array([[*prompt, *(token.id for token in tokens)]], dtype=np.int64)
        wanted = range(len(prompt) - 1, ids.size - 1)
        whole = _log_softmax(self._step.run([0], ids, [0], wanted))
        off = [
            abs(row[id] - logprob)
            for row, token in zip(whole, tokens, strict=True)
            for id, logprob in [(token.id, token.logprob), *token.top_logprobs]
            if logprob is not None and logprob > -8
        ]
        assert max(off) < LARGEST
        if len(off) >= ENOUGH:
            assert np.mean(off) < AVERAGE


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    normalized: NDArray[np.float64] = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    return normalized
