"""Calibrated quantization: each linear layer is rounded for the inputs that a text gives it.

The text runs through the decoder layer by layer, in plain numpy. At every linear layer its inputs' second moments are
gathered, the weight is rounded with error feedback, and the text goes on through the rounded weight, so that later
layers make up for earlier ones' errors too. Memory holds one layer's weights and moments, and the text's hidden states.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from model_export.config import ModelConfig
from model_export.feedback import quantize_with_feedback, unit_upper
from model_export.reference import Array, attend, gate, rms_norm
from model_export.weights import COSINES, EMBEDDING, SINES, Weight, array_bytes

SLICE = 2048  # rows of inputs whose moments are added at a time


class Calibrator:
    """Walks a text through the decoder and quantizes what it passes."""

    def __init__(self, config: ModelConfig, weights: Mapping[str, Weight], ids: NDArray[np.int64]) -> None:
        """Begin with the embeddings of the text.

        Args:
            config: the model.
            weights: from `model_export.weights.plan`, by name.
            ids: the text, int64 ``(windows, length)``.
        """
        self._config, self._weights, self._ids = config, weights, ids
        self._cosines, self._sines = (self._vector(n)[: ids.shape[1]] for n in (COSINES, SINES))
        self._hidden = self._embed()  # (windows * length, hidden_size)
        self._inputs: Array = self._hidden  # of the linear layer that comes next

    def contents(self, weight: Weight) -> Iterator[tuple[str, Iterable[memoryview]]]:
        """Quantize the next linear layer and give the bytes of its tensors.

        Args:
            weight: one of qkv_proj, o_proj, gate_up_proj and down_proj, in this order, layer after layer.
        """
        layer, linear = weight.name.removesuffix(".weight").rsplit(".", 2)[0], weight.name.split(".")[-2]
        if linear in ("qkv_proj", "gate_up_proj"):
            norm = "input_layernorm" if linear == "qkv_proj" else "post_attention_layernorm"
            self._inputs = rms_norm(self._hidden, self._vector(f"{layer}.{norm}.weight"), self._config.rms_norm_eps)
        matrix = weight.rows.read(0, weight.rows.shape[0])
        upper = unit_upper(_second_moments(self._inputs))
        values, scales, rounded = quantize_with_feedback(matrix, upper, weight.block_size, weight.name)
        del matrix, upper
        self._pass(layer, linear, rounded)
        arrays = weight.storage.encode(values, scales, 4)
        yield from ((spec.name, [array_bytes(array)]) for spec, array in zip(weight.tensors, arrays, strict=True))

    def _pass(self, layer: str, linear: str, rounded: Array) -> None:
        outputs = self._inputs @ rounded.T
        bias = self._find(f"{layer}.{'self_attn' if linear in ('qkv_proj', 'o_proj') else 'mlp'}.{linear}.bias")
        if bias is not None:
            outputs += bias
        if linear == "qkv_proj":
            sequences = outputs.reshape(*self._ids.shape, -1)
            mixed = [self._attend(f"{layer}.self_attn", sequence) for sequence in sequences]
            self._inputs = np.concatenate(mixed)
        elif linear == "gate_up_proj":
            self._inputs = gate(self._config, outputs)
        else:
            self._hidden = self._hidden + outputs

    def _attend(self, name: str, qkv: Array) -> Array:
        return attend(self._config, self._find, name, qkv, self._cosines, self._sines)

    def _embed(self) -> Array:
        rows = self._weights[EMBEDDING].rows
        found = np.empty((self._ids.size, rows.shape[1]), dtype=np.float32)
        flat, step = self._ids.reshape(-1), 4096
        for start in range(0, rows.shape[0], step):
            here = (flat >= start) & (flat < start + step)
            if here.any():
                found[here] = rows.read(start, min(start + step, rows.shape[0]))[flat[here] - start]
        return found

    def _find(self, name: str) -> Array | None:
        return self._vector(name) if name in self._weights else None

    def _vector(self, name: str) -> Array:
        rows = self._weights[name].rows
        return rows.read(0, rows.shape[0])


def covers(weight: Weight) -> bool:
    """Whether a weight is one that calibration quantizes: a linear layer inside the decoder."""
    return weight.bits == 4 and weight.name.startswith("model.layers.")


def _second_moments(inputs: Array) -> NDArray[np.float64]:
    """XᵀX of inputs ``(tokens, K)``, in float64 from float32 parts."""
    total = np.zeros((inputs.shape[1], inputs.shape[1]), dtype=np.float64)
    for start in range(0, len(inputs), SLICE):
        part = inputs[start : start + SLICE]
        total += part.T @ part
    return total
