"""A step: new tokens of some sequences through the graph; nobody else calls onnxruntime."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from handler.engine.cancellation import Cancellation
from handler.engine.sampling import ALL_EXACT, Choice
from handler.engine.slots import Arrays
from handler.errors import Interrupted

SHARED_ROWS = 64  # of logits, in memory that all bindings share: each by itself would keep megabytes
SHARED_STATES = 256  # hidden states, the same
HIDDEN_INDICES = "hidden_indices"  # the input of graphs that give hidden states
CHOICES = "choices"  # the input of graphs whose logits needn't all be exact
KEPT_BINDINGS = 16  # shapes: one a number of decoding sequences, and the latest chunks of prompts


class Step:
    """Runs a graph over the slots of a cache.

    Attributes:
        batches: whether one run takes several sequences, wherever their slots are; else they run one after the other.
        hidden_size: columns of the hidden states; None where the graph gives none.
    """

    def __init__(self, session: onnxruntime.InferenceSession, cache: Arrays, vocab_size: int) -> None:
        """Bind nothing yet.

        Args:
            session: from `handler.engine.session.create_session`.
            cache: from `handler.engine.slots.allocate`.
            vocab_size: columns of the logits.
        """
        self.batches = any(value.name == "slots" for value in session.get_inputs())
        self._session = session
        self._cache = cache
        self._vocab_size = vocab_size
        self._logits = np.empty((SHARED_ROWS, vocab_size), dtype=np.float32)  # takes memory as it is written
        self.hidden_size = _hidden_size(session)
        # Who gives none gets exact logits: an input with a default isn't among the session's inputs.
        self._chooses = any(value.name == CHOICES for value in session.get_overridable_initializers())
        self._states = np.empty((SHARED_STATES, self.hidden_size or 0), dtype=np.float32)
        self._bindings: OrderedDict[tuple[int, ...], _Binding] = OrderedDict()
        self._options = onnxruntime.RunOptions()

    def run(
        self,
        slots: Sequence[int],
        ids: NDArray[np.int64],
        starts: Sequence[int],
        wanted: Sequence[int],
        cancellations: Iterable[Cancellation] = (),
        choices: Sequence[Choice] = (),
    ) -> NDArray[np.float32]:
        """Append tokens to the cache.

        Several of the `B` may be in one slot, at positions that follow one another: each sees those before it. So
        guessed tokens are as many sequences of one token, and their logits are those of one after the other.

        Args:
            slots: of each sequence `(B,)`.
            ids: int64 `(B, S)`.
            starts: position of each sequence's first new token `(B,)`.
            wanted: positions in the flattened `(B * S)` for which logits are computed `(P,)`.
            cancellations: any of them ends the run.
            choices: how the tokens behind the wanted positions will be chosen `(P,)`; none for exact logits of all.

        Returns:
            float32 `(P, vocab_size)`; overwritten by the next run. Where a choice is given, those that it is made among
            are exact, and the others may have an error that doesn't matter to it.

        Raises:
            Interrupted: one of `cancellations` was used; the same step may be run again.
        """
        with self._watched(cancellations):
            if self.batches:
                return self._run(slots, ids, starts, wanted, choices=choices).logits
            return self._one_by_one(slots, ids, starts, wanted)

    def states(
        self,
        slot: int,
        ids: NDArray[np.int64],
        start: int,
        wanted: Sequence[int],
        cancellations: Iterable[Cancellation] = (),
    ) -> NDArray[np.float32]:
        """Append tokens of one sequence to the cache, for their hidden states; no logits are computed.

        Args:
            slot: of the sequence.
            ids: int64 `(1, S)`.
            start: position of the first new token.
            wanted: positions in `S` whose hidden states are computed `(Q,)`.
            cancellations: any of them ends the run.

        Returns:
            float32 `(Q, hidden_size)`, after the final norm; overwritten by the next run.

        Raises:
            Interrupted: one of `cancellations` was used; the same step may be run again.
        """
        with self._watched(cancellations):
            return self._run([slot], ids, [start], [], wanted).states

    @contextmanager
    def _watched(self, cancellations: Iterable[Cancellation]) -> Iterator[None]:
        watched = list(cancellations)
        for cancellation in watched:
            cancellation.watch(self._interrupt)
        try:
            yield
        except Exception:
            if any(cancellation.cancelled for cancellation in watched):
                raise Interrupted from None
            raise
        finally:
            for cancellation in watched:
                cancellation.watch(None)
            if self._options.terminate:
                self._options = onnxruntime.RunOptions()

    def _interrupt(self) -> None:
        self._options.terminate = True

    def _one_by_one(
        self, slots: Sequence[int], ids: NDArray[np.int64], starts: Sequence[int], wanted: Sequence[int]
    ) -> NDArray[np.float32]:
        logits = np.empty((len(wanted), self._vocab_size), dtype=np.float32)
        length = ids.shape[1]
        for index, slot in enumerate(slots):
            places = [place for place, at in enumerate(wanted) if at // length == index]
            found = self._run([slot], ids[index : index + 1], [starts[index]], [wanted[p] % length for p in places])
            logits[places] = found.logits
        return logits

    def _run(
        self,
        slots: Sequence[int],
        ids: NDArray[np.int64],
        starts: Sequence[int],
        wanted: Sequence[int],
        hidden: Sequence[int] = (),
        choices: Sequence[Choice] = (),
    ) -> _Binding:
        binding = self._binding(slots, ids.shape, len(wanted), len(hidden))
        binding.input_ids[...] = ids
        binding.seqlens_k[:] = starts
        binding.seqlens_k += ids.shape[1] - 1
        binding.total[...] = binding.seqlens_k.max() + 1
        binding.indices[:] = wanted
        binding.hidden_indices[:] = hidden
        binding.choices[:] = choices or ALL_EXACT
        if self.batches:
            binding.slots[:] = slots
        self._session.run_with_iobinding(binding.bound, self._options)
        return binding

    def _binding(self, slots: Sequence[int], shape: tuple[int, ...], wanted: int, hidden: int) -> _Binding:
        key = (*shape, wanted, hidden, *(() if self.batches else slots))
        binding = self._bindings.get(key)
        if binding is None:
            cache = self._cache
            if not self.batches:
                cache = {name: array[slots[0] : slots[0] + 1] for name, array in cache.items()}
            logits, states = _rows(self._logits, wanted), _rows(self._states, hidden)
            binding = _Binding(self._session, cache, shape, logits, states, self.batches, self._chooses)
            self._bindings[key] = binding
            if len(self._bindings) > KEPT_BINDINGS:
                self._bindings.popitem(last=False)
        self._bindings.move_to_end(key)
        return binding


def _hidden_size(session: onnxruntime.InferenceSession) -> int | None:
    # Who gives no indices gets no hidden states: an input with a default isn't among the session's inputs.
    if not any(value.name == HIDDEN_INDICES for value in session.get_overridable_initializers()):
        return None
    return next(int(value.shape[1]) for value in session.get_outputs() if value.name == "hidden_states")


def _rows(shared: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    return shared[:count] if count <= len(shared) else np.empty((count, shared.shape[1]), dtype=np.float32)


class _Binding:
    """Inputs and outputs of one shape, bound once and written in place."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        cache: Arrays,
        shape: tuple[int, ...],
        logits: NDArray[np.float32],
        states: NDArray[np.float32],
        batches: bool,
        chooses: bool,
    ) -> None:
        self.bound = session.io_binding()
        self.input_ids = np.zeros(shape, dtype=np.int64)  # (B, S)
        self.seqlens_k = np.zeros(shape[0], dtype=np.int32)  # (B,)
        self.total = np.zeros((), dtype=np.int32)
        self.indices = np.zeros(len(logits), dtype=np.int64)  # (P,)
        self.slots = np.zeros(shape[0], dtype=np.int32)  # (B,)
        self.logits = logits  # (P, vocab_size)
        self.hidden_indices = np.zeros(len(states), dtype=np.int64)  # (Q,)
        self.states = states  # (Q, hidden_size)
        self.choices = np.zeros((len(logits), len(ALL_EXACT)), dtype=np.float32)
        self._bind_input("input_ids", self.input_ids)
        self._bind_input("seqlens_k", self.seqlens_k)
        self._bind_input("total_sequence_length", self.total)
        self._bind_input("logits_indices", self.indices)
        if batches:
            self._bind_input("slots", self.slots)
        if chooses:
            self._bind_input(CHOICES, self.choices)
        self._bind_output("logits", self.logits)
        if len(states):
            self._bind_input(HIDDEN_INDICES, self.hidden_indices)
            self._bind_output("hidden_states", self.states)
        for name, array in cache.items():
            self._bind_input(f"past_key_values.{name}", array)
            self._bind_output(f"present.{name}", array)

    def _bind_input(self, name: str, array: NDArray[Any]) -> None:
        self.bound.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

    def _bind_output(self, name: str, array: NDArray[Any]) -> None:
        self.bound.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
