"""Logits of an artefact at every position of a text, for measuring quality."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from handler.artefact import GRAPH, Artefact, load_artefact
from handler.engine.cache import allocate
from handler.engine.cancellation import Cancellation
from handler.engine.engine import Engine, EngineOptions
from handler.engine.kernels import given_library, library_of
from handler.engine.sampling import SamplingParams
from handler.engine.session import create_session
from handler.engine.step import Step


class Answers(Protocol):
    """A model whose answers can be measured: an artefact of ours, or a GGUF file by llama.cpp."""

    def logits(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Run one sequence `(S,)` from an empty cache; gives `(S, vocab_size)`."""
        ...

    def greedy(self, prompt: list[int], tokens: int) -> list[int]:
        """Continue a prompt with the likeliest tokens until an end-of-text token."""
        ...


class Judged:
    """An artefact whose answers are measured."""

    def __init__(self, directory: Path, threads: int) -> None:
        """Load it; raises as `handler.artefact.load_artefact`."""
        self.artefact: Artefact = load_artefact(directory, "quick")
        library = library_of(self.artefact, given_library(os.environ))
        self.session: onnxruntime.InferenceSession = create_session(directory / GRAPH, threads, library=library)
        self._engine = Engine(self.session, self.artefact, EngineOptions(keep_prefixes=False, lookup=False))

    def logits(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Run one sequence `(S,)` from an empty cache; gives `(S, vocab_size)`."""
        cache = allocate(self.artefact, positions=len(ids))
        return Step(self.session, cache, self.artefact.vocab_size).run([0], ids[None, :], [0], range(len(ids)))

    def greedy(self, prompt: list[int], tokens: int) -> list[int]:
        """Continue a prompt with the likeliest tokens until an end-of-text token."""
        stop = self.artefact.eos_token_ids
        return [
            t.id for t in self._engine.generate(prompt, SamplingParams(temperature=0), tokens, stop, Cancellation())
        ]


class Remembered:
    """A model that answers every question once: its logits wait on disk until they are wanted again."""

    def __init__(self, model: Answers, directory: Path) -> None:
        """Wrap it; a question's logits take `4 * S * vocab_size` bytes in the directory."""
        self._model, self._directory = model, directory
        self._greedy: dict[tuple[int, ...], list[int]] = {}

    def logits(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """As the model's."""
        file = self._directory / f"{sha256(ids.tobytes()).hexdigest()}.npy"
        if not file.exists():
            np.save(file, self._model.logits(ids))
        found: NDArray[np.float32] = np.load(file)
        return found

    def greedy(self, prompt: list[int], tokens: int) -> list[int]:
        """As the model's."""
        question = (*prompt, tokens)
        if question not in self._greedy:
            self._greedy[question] = self._model.greedy(prompt, tokens)
        return self._greedy[question]
