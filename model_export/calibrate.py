"""Calibrated quantization: each linear layer is rounded for the inputs that a text gives it.

The text runs through the decoder layer by layer, in plain numpy. At every linear layer its inputs' second moments are
gathered, the weight is rounded with error feedback, and the text goes on through the rounded weight. It also goes
through the unrounded ones: what they give is what a rounded layer aims at, so that later layers make up for earlier
ones' errors. Memory holds one layer's weights and moments, and the text's hidden states of both models.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from model_export.config import ModelConfig
from model_export.decoder import EMBEDDING, HEAD, decoder
from model_export.feedback import DAMPING, round_with_feedback
from model_export.parallel import ROWS, Workers, slices
from model_export.parts import Add, Attention, Gate, Linear, Norm, Part
from model_export.progress import Progress
from model_export.quantize import dequantize, pack, quantize, scale_units
from model_export.reference import Array, attend, gate, load_tables, rms_norm, scale
from model_export.refine import refine
from model_export.resume import PartStore
from model_export.shift import Aim, Moments, Shift, missing
from model_export.weights import Weight, array_bytes

# More than inside: a tied head is a table too, where the errors of all its values count alike.
HEAD_DAMPING = 0.5
EXACT, ROUNDED = 0, 1  # the models that the text runs through

Quantized = tuple[NDArray[np.uint8], NDArray[np.float16]]


class Calibrator:
    """Walks a text through the decoder and quantizes what it passes: every layer, then the head."""

    def __init__(
        self,
        config: ModelConfig,
        weights: Sequence[Weight],
        ids: NDArray[np.int64],
        workers: Workers,
        store: PartStore,
    ) -> None:
        """Prepare.

        Args:
            config: the model.
            weights: from `model_export.weights.plan`.
            ids: the text, int64 `(windows, length)`.
            workers: threads.
            store: takes every finished part, and may hold some of an interrupted export; part N is layer N, the part
                after the last layer is the head.
        """
        self._config, self._weights, self._ids = config, {weight.name: weight for weight in weights}, ids
        self._workers, self._store = workers, store
        self._model = decoder(config)
        self._tables = load_tables(config, self._find, ids.shape[1])
        # After the finished layers, of the unrounded and of the rounded model: (2, windows * length, hidden_size).
        self._hidden = np.empty(0, dtype=np.float32)

    def run(self) -> None:
        """Quantize all that isn't in the store yet; shows the progress on stderr."""
        start, layers = self._store.finished, self._model.layers
        todo = [w for w in self._weights.values() if self.covers(w) and self._part(w) >= start]
        self._progress = Progress(sum(w.rows.source_bytes for w in todo), done="calibrated")
        self._hidden = self._store.hidden() if start else self._embedded()
        for part in range(start, len(layers) + 1):
            tensors = self._quantize_layer(layers[part]) if part < len(layers) else self._quantize_head()
            self._store.save(part, tensors, self._hidden)
        self._progress.close()

    def _embedded(self) -> Array:
        embedded = scale(embed(self._weights[EMBEDDING], self._ids), self._model.embedding_factor)
        return np.stack([embedded] * 2)

    def contents(self, weight: Weight) -> Iterator[tuple[str, Iterable[memoryview]]]:
        """Give the bytes of a weight's tensors; `run` has quantized it, and `covers` holds for it."""
        names = (weight.name, _scales_of(weight))
        tensors = self._store.tensors(self._part(weight), names)
        values, scales = (tensors[name] for name in names)
        arrays = weight.storage.encode(values.view(np.uint8), scales.view(np.float16), weight.bits or 4)
        yield from ((spec.name, [array_bytes(array)]) for spec, array in zip(weight.tensors, arrays, strict=True))

    def covers(self, weight: Weight) -> bool:
        """Whether a weight is one that the walk quantizes: a linear layer in the decoder, or a head of 4 bits."""
        if weight.name == self._head.name:
            return weight.bits == 4
        return weight.bits is not None and weight.name.startswith("model.layers.")

    def _part(self, weight: Weight) -> int:
        names = weight.name.split(".")
        return int(names[2]) if names[1] == "layers" else self._config.num_hidden_layers

    @property
    def _head(self) -> Weight:
        return self._weights[HEAD if HEAD in self._weights else EMBEDDING]

    def _quantize_head(self) -> dict[str, NDArray[np.generic]]:
        if not self.covers(self._head):
            return {}
        inputs = self._norm(self._model.norm, self._hidden[ROUNDED])
        values, scales = quantize_for(inputs, self._head, self._workers, damping=HEAD_DAMPING)
        self._progress.advance(self._head.name, self._head.rows.source_bytes)
        return {self._head.name: values, _scales_of(self._head): scales}

    def _quantize_layer(self, layer: Sequence[Part]) -> dict[str, NDArray[np.generic]]:
        """Quantize a decoder layer's weights and take the hidden states through it; gives its tensors by name."""
        tensors: dict[str, NDArray[np.generic]] = {}
        x = self._hidden
        for part, following in zip_longest(layer, layer[1:]):
            match part:
                case Norm():
                    x = self._norm(part, x)
                case Linear():
                    weight = self._weights[part.weight]
                    lacks = missing(self._hidden) / following.factor if isinstance(following, Add) else None
                    values, scales = quantize_for(x[ROUNDED], weight, self._workers, Aim(x[EXACT], lacks))
                    tensors |= {weight.name: values, _scales_of(weight): scales}
                    exact = weight.rows.read(0, weight.rows.shape[0])
                    rounded = dequantize(values, scales, weight.bits or 4, weight.rows.shape[1])
                    both = ((x[EXACT], exact), (x[ROUNDED], rounded))
                    x = np.stack([self._pass(part, following, *one) for one in both])
                    self._progress.advance(weight.name, weight.rows.source_bytes)
                case Add():
                    x = self._hidden = self._hidden + scale(x, part.factor)
        return tensors

    def _norm(self, part: Norm, x: Array) -> Array:
        return rms_norm(x, self._vector(part.weight), part.stored_epsilon)

    def _pass(self, part: Linear, following: Part | None, inputs: Array, matrix: Array) -> Array:
        """Take inputs `(tokens, K)` through a linear layer and through attention or a gate, if that follows it.

        The two go together because what is between them is large.
        """
        bias = self._vector(part.bias_name) if part.bias else None
        step = self._ids.shape[1] if isinstance(following, Attention) else ROWS

        def outputs(rows: slice) -> Array:
            product: Array = inputs[rows] @ matrix.T
            product = product if bias is None else product + bias
            match following:
                case Attention():
                    return attend(following, self._find, product, self._tables.get(following.rope or ""))
                case Gate():
                    return gate(following, product)
            return product

        return np.concatenate(self._workers.map(outputs, slices(len(inputs), step)))

    def _find(self, name: str) -> Array | None:
        return self._vector(name) if name in self._weights else None

    def _vector(self, name: str) -> Array:
        rows = self._weights[name].rows
        return rows.read(0, rows.shape[0])


def embed(embedding: Weight, ids: NDArray[np.int64]) -> Array:
    """Look tokens up, a part of the table in memory at a time: `(ids.size, hidden_size)`."""
    rows = embedding.rows
    found = np.empty((ids.size, rows.shape[1]), dtype=np.float32)
    flat = ids.reshape(-1)
    for part in slices(rows.shape[0], 4096):
        here = (flat >= part.start) & (flat < part.stop)
        if here.any():
            found[here] = rows.read(part.start, part.stop)[flat[here] - part.start]
    return found


def quantize_for(
    inputs: Array, weight: Weight, workers: Workers, aim: Aim | None = None, damping: float = DAMPING
) -> Quantized:
    """Quantize a weight for its inputs, float32 `(tokens, K)`; 8 bits have nothing to gain from them.

    Args:
        inputs: of the linear layer, in the rounded model.
        weight: of 4 or 8 bits.
        workers: threads.
        aim: what to give for them; None for what the unrounded weight does.
        damping: as for `model_export.feedback.factorize`.

    Returns:
        values and scales as `model_export.quantize.quantize` gives them.

    Raises:
        QuantizationRange: a weight is so large that its scale is no f16.
    """
    portions = slices(weight.rows.shape[0], ROWS)

    def plainly(rows: slice) -> Quantized:
        return quantize(weight.rows.read(rows.start, rows.stop), 8, weight.block_size, weight.name, lean=weight.lean)

    if weight.bits == 8:
        parts = workers.map(plainly, portions)
    else:
        moments = Moments.of(inputs, weight.block_size, damping, workers)
        shift = Shift.towards(aim, inputs, weight.rows, moments, workers) if aim and moments.mean > 0 else None
        parts = workers.map(lambda rows: _portion(weight, rows, moments, shift), portions)
    values, scales = zip(*parts, strict=True)
    return np.concatenate(values), np.concatenate(scales)


def _portion(weight: Weight, rows: slice, moments: Moments, shift: Shift | None) -> Quantized:
    block, order, factors = weight.block_size, moments.order, moments.factors
    matrix = np.ascontiguousarray(weight.rows.read(rows.start, rows.stop).T[order])
    if shift is not None:
        shift.apply(matrix, rows)
    rounded = round_with_feedback(matrix, factors, block, weight.name)
    refine(matrix, rounded, factors, block, scale_units(np.abs(rounded.scales).max(axis=0)) if weight.lean else None)
    blocks, count = rounded.scales.shape
    codes = np.full((count, blocks * block), 8, dtype=np.uint8)
    codes[:, order] = rounded.codes.T
    scales = np.empty((count, blocks), dtype=np.float16)
    scales[:, order[::block] // block] = rounded.scales.T
    return pack(codes.reshape(count, blocks, block), 4), scales


def _scales_of(weight: Weight) -> str:
    """What a weight's scales are called in the store, whatever the artefact's layout."""
    return f"{weight.name}_scale"
