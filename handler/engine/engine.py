"""Token ids in, token ids out; the engine knows no text."""

from __future__ import annotations

import threading
from collections.abc import Collection, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from handler.artefact import GRAPH, Artefact
from handler.engine.kernels import library_of
from handler.engine.sampling import Sampler, SamplingParams, log_probabilities
from handler.engine.session import create_session
from handler.engine.slots import allocate
from handler.engine.weights import Weights
from handler.errors import Cancelled

WARM_UP_S = 0.005  # a few layers of a 3B model, all of a small one


@dataclass(frozen=True)
class Token:
    """A generated token.

    Attributes:
        id: in the vocabulary.
        logprob: natural logarithm of its probability by the model's own distribution, if it was asked for.
        top_logprobs: the likeliest tokens at its place, likeliest first.
        cached_tokens: how many of the prompt's tokens were found in the cache; the same for all tokens of an answer.
    """

    id: int
    logprob: float | None = None
    top_logprobs: tuple[tuple[int, float], ...] = ()
    cached_tokens: int = 0


class Cancellation:
    """Ends a generation from another thread, even in the middle of a prefill."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._options: onnxruntime.RunOptions | None = None

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """End the generation; may be called at any time, from any thread, more than once."""
        with self._lock:
            self._cancelled = True
            if self._options is not None:
                self._options.terminate = True

    def run_options(self) -> onnxruntime.RunOptions:
        """Options of a run that `cancel` ends."""
        with self._lock:
            if self._options is None:
                self._options = onnxruntime.RunOptions()
                self._options.terminate = self._cancelled
            return self._options


class Engine:
    """A session with a preallocated cache; one generation at a time."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        artefact: Artefact,
        prefill_chunk: int,
        weights: Weights | None = None,
    ) -> None:
        """Allocate the cache; its pages cost no memory until they are written.

        Args:
            session: from `handler.engine.session.create_session`.
            artefact: what the session was made of.
            prefill_chunk: tokens of a prompt that are run at a time.
            weights: what the session computes with, if it was given them: they stay mapped as long as the engine lives.
        """
        self.context_length = artefact.context_length
        self.vocab_size = artefact.vocab_size
        self._session = session
        self._prefill_chunk = prefill_chunk
        self._cache = allocate(artefact, artefact.context_length)
        self._weights = weights
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        artefact: Artefact,
        threads: int,
        prefill_chunk: int = 256,
        kernels: Path | None = None,
        weights: Weights | None = None,
    ) -> Engine:
        """Create the session of an artefact and the engine around it.

        Args:
            artefact: from `handler.artefact.load_artefact`.
            threads: of the session.
            prefill_chunk: tokens of a prompt that are run at a time.
            kernels: the library of native kernels; None for the package's own.
            weights: mapped already; None to let onnxruntime map them.

        Raises:
            ArtefactDamaged: onnxruntime refuses the graph.
            StartupError: the artefact asks for native kernels, which are missing or can't be used.
        """
        library = library_of(artefact, kernels)
        session = create_session(artefact.directory / GRAPH, threads, library=library, weights=weights)
        return cls(session, artefact, prefill_chunk, weights)

    def warm_up(self) -> None:
        """Work on a token for a moment, so that what can fail has failed before the first request.

        Not for all of a token: the first request would only have to wait for it.
        """
        cancellation = Cancellation()
        timer = threading.Timer(WARM_UP_S, cancellation.cancel)
        timer.daemon = True
        timer.start()
        with suppress(Cancelled):
            list(self.generate([0], SamplingParams(temperature=0), 1, (), cancellation))
        timer.cancel()

    def generate(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams,
        max_tokens: int,
        stop_ids: Collection[int],
        cancellation: Cancellation,
    ) -> Generator[Token, None, None]:
        """Continue a prompt.

        The first token takes the prefill, which runs in chunks. Closing the generator frees the engine.

        Args:
            prompt_ids: at least one token id, each below ``vocab_size``.
            params: how to choose.
            max_tokens: at most so many tokens; prompt and tokens together fit ``context_length``.
            stop_ids: tokens that end the answer; they aren't given out.
            cancellation: ends it from outside.

        Yields:
            tokens; fewer than ``max_tokens`` when a stop id came.

        Raises:
            Cancelled: `cancellation` was used.
            ValueError: the lengths or ids are out of range; that is a bug of the caller.
        """
        self._check(prompt_ids, max_tokens)
        with self._lock:
            sampler = Sampler(params, prompt_ids, self.vocab_size)
            logits = self._prefill(prompt_ids, cancellation)
            step = _Step(self, 1, wanted=1)
            for count in range(1, max_tokens + 1):
                if cancellation.cancelled:
                    raise Cancelled
                token = sampler.sample(logits)
                if token in stop_ids:
                    return
                if params.top_logprobs is None:
                    yield Token(token)
                else:
                    yield Token(token, *log_probabilities(logits, token, params.top_logprobs))
                if count < max_tokens:
                    logits = step.run([token], len(prompt_ids) + count - 1, cancellation)

    def _check(self, prompt_ids: Sequence[int], max_tokens: int) -> None:
        if not prompt_ids or max_tokens < 1 or len(prompt_ids) + max_tokens > self.context_length:
            raise ValueError(f"{len(prompt_ids)} + {max_tokens} tokens in a context of {self.context_length}")
        if min(prompt_ids) < 0 or max(prompt_ids) >= self.vocab_size:
            raise ValueError(f"token ids beyond the vocabulary of {self.vocab_size}")

    def _prefill(self, prompt_ids: Sequence[int], cancellation: Cancellation) -> NDArray[np.float32]:
        """Run the prompt in chunks; gives the logits after its last token, float32 ``(vocab_size,)``."""
        for start in range(0, len(prompt_ids), self._prefill_chunk):
            chunk = prompt_ids[start : start + self._prefill_chunk]
            last = start + len(chunk) == len(prompt_ids)
            logits = _Step(self, len(chunk), wanted=int(last)).run(chunk, start, cancellation)
        return logits


class _Step:
    """A run over a fixed number of new tokens, its inputs and outputs bound once and written in place."""

    def __init__(self, engine: Engine, tokens: int, wanted: int) -> None:
        """Bind everything; logits are computed for the last token if ``wanted`` is 1, for none if it is 0."""
        self._session = engine._session
        self._binding = engine._session.io_binding()
        self._input_ids = np.zeros((1, tokens), dtype=np.int64)  # (B, S)
        self._seqlens_k = np.zeros(1, dtype=np.int32)  # (B,)
        self._total = np.zeros((), dtype=np.int32)
        self._indices = np.full(wanted, tokens - 1, dtype=np.int64)  # (P,)
        self._logits = np.empty((wanted, engine.vocab_size), dtype=np.float32)  # (P, vocab_size)
        self._bind("input_ids", self._input_ids)
        self._bind("seqlens_k", self._seqlens_k)
        self._bind("total_sequence_length", self._total)
        self._bind("logits_indices", self._indices)
        self._bind_output("logits", self._logits)
        for name, array in engine._cache.items():
            self._bind(f"past_key_values.{name}", array)
            self._bind_output(f"present.{name}", array)

    def run(self, ids: Sequence[int], start: int, cancellation: Cancellation) -> NDArray[np.float32]:
        """Append tokens to the cache at position ``start``; gives the last one's logits, float32 ``(vocab_size,)``."""
        if cancellation.cancelled:
            raise Cancelled
        self._input_ids[0] = ids
        self._seqlens_k[0] = start + len(ids) - 1
        self._total[...] = start + len(ids)
        try:
            self._session.run_with_iobinding(self._binding, cancellation.run_options())
        except Exception:
            if cancellation.cancelled:
                raise Cancelled from None
            raise
        return self._logits[-1] if len(self._logits) else np.empty(0, dtype=np.float32)

    def _bind(self, name: str, array: NDArray[Any]) -> None:
        self._binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

    def _bind_output(self, name: str, array: NDArray[Any]) -> None:
        self._binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
