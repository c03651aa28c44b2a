"""Logits of an artefact at every position of a text, for measuring quality."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from handler.artefact import GRAPH, Artefact, load_artefact
from handler.engine.engine import Cancellation, Engine
from handler.engine.kernels import given_library, library_of
from handler.engine.sampling import SamplingParams
from handler.engine.session import create_session
from handler.engine.slots import allocate


class Answers(Protocol):
    """A model whose answers can be measured: an artefact of ours, or a GGUF file by llama.cpp."""

    def logits(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Run one sequence ``(S,)`` from an empty cache; gives ``(S, vocab_size)``."""
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
        self._engine = Engine(self.session, self.artefact, prefill_chunk=256)

    def logits(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Run one sequence ``(S,)`` from an empty cache; gives ``(S, vocab_size)``."""
        length = len(ids)
        feeds = {
            "input_ids": ids[None, :],
            "seqlens_k": np.array([length - 1], dtype=np.int32),
            "total_sequence_length": np.array(length, dtype=np.int32),
            "logits_indices": np.arange(length, dtype=np.int64),
            **{f"past_key_values.{name}": part for name, part in allocate(self.artefact, length).items()},
        }
        found: NDArray[np.float32] = self.session.run(["logits"], feeds)[0]
        return found

    def greedy(self, prompt: list[int], tokens: int) -> list[int]:
        """Continue a prompt with the likeliest tokens until an end-of-text token."""
        stop = self.artefact.eos_token_ids
        return [
            t.id for t in self._engine.generate(prompt, SamplingParams(temperature=0), tokens, stop, Cancellation())
        ]
