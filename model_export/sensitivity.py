"""What rounding a weight to 4 bits costs: the divergence from the unrounded model that it is expected to cause.

To second order, the Kullback-Leibler divergence that errors δ of a layer's outputs cause is half the mean square of
g·δ, where g is the gradient of the log-probability of a token drawn from the model's own distribution (its Fisher
information). The gradients are taken by going back through the unrounded decoder, a layer at a time; the errors are
those of rounding by search. Rows of a weight are rounded independently, so their squares add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from model_export.calibrate import HEAD_DAMPING, embed
from model_export.config import ModelConfig
from model_export.decoder import EMBEDDING, HEAD, decoder
from model_export.feedback import DAMPING, factorize
from model_export.gradient import attend_gradient, gate_gradient, rms_norm_gradient, softcap_slope
from model_export.parallel import ROWS, Workers, slices
from model_export.parts import Add, Attention, Gate, Linear, Norm, Part
from model_export.progress import Progress
from model_export.quantize import dequantize, quantize
from model_export.reference import Array, attend, finish_logits, gate, load_tables, rms_norm, scale
from model_export.weights import Weight

WINDOWS = 8  # of the calibration text
TOKENS = 256  # whose logits are in memory at a time
SEED = 0


class Sensitivity:
    """Goes forth and back through the decoder and notes each weight's cost."""

    def __init__(
        self,
        config: ModelConfig,
        weights: Sequence[Weight],
        ids: NDArray[np.int64],
        workers: Workers,
        calibrated: bool = False,
    ) -> None:
        """Prepare.

        Args:
            config: the model.
            weights: from `model_export.weights.plan`.
            ids: a text, int64 `(windows, length)`.
            workers: threads.
            calibrated: whether the weights will be rounded with error feedback, which takes a part of the errors away.
        """
        self._config, self._weights = config, {weight.name: weight for weight in weights}
        self._ids, self._workers, self._calibrated = ids, workers, calibrated
        self._model = decoder(config)
        self._tables = load_tables(config, self._find, ids.shape[1])

    def costs(self) -> dict[str, float]:
        """Give, for each weight that can be quantized, the mean divergence a token in nats that 4 bits add."""
        self._progress = Progress(self._todo(), done="measured")
        hidden = scale(embed(self._weights[EMBEDDING], self._ids), self._model.embedding_factor)
        passed = []
        for layer in self._model.layers:
            passed.append(hidden)
            hidden = self._forth(layer, hidden)[-1]
            for linear in (part for part in layer if isinstance(part, Linear)):
                self._progress.advance(linear.name, self._weights[linear.weight].rows.source_bytes)
        gradient, head_cost = self._head(hidden)
        costs: dict[str, float] = {}
        for layer, hidden in zip(reversed(self._model.layers), reversed(passed), strict=True):
            gradient = self._back(layer, hidden, gradient, costs)
        costs[EMBEDDING] = self._lookup(scale(gradient, self._model.embedding_factor))
        head = HEAD if HEAD in self._weights else EMBEDDING
        costs[head] = costs.get(head, 0.0) + head_cost
        self._progress.close()
        return costs

    def _todo(self) -> int:
        linears = [weight for name, weight in self._weights.items() if name.startswith("model.layers.")]
        return 2 * sum(weight.rows.source_bytes for weight in linears if weight.bits is not None)

    def _forth(self, layer: Sequence[Part], hidden: Array) -> list[Array]:
        """What goes into each part of a layer, then what comes out of the last."""
        passed = [hidden]
        for part in layer:
            x = passed[-1]
            match part:
                case Norm():
                    x = rms_norm(x, self._vector(part.weight), part.stored_epsilon)
                case Linear():
                    x = self._linear(part, x)
                case Attention():
                    attended = partial(self._attend, part, x)
                    x = np.concatenate(self._workers.map(attended, slices(len(x), self._ids.shape[1])))
                case Gate():
                    x = gate(part, x)
                case Add():
                    x = hidden = hidden + scale(x, part.factor)
            passed.append(x)
        return passed

    def _attend(self, part: Attention, qkv: Array, rows: slice) -> Array:
        return attend(part, self._find, qkv[rows], self._tables.get(part.rope or ""))

    def _back(self, layer: Sequence[Part], hidden: Array, gradient: Array, costs: dict[str, float]) -> Array:
        """Go back through a layer: gradient `(tokens, hidden_size)` at its end → at its beginning."""
        passed = self._forth(layer, hidden)[:-1]
        back: Array | None = None  # at what comes out of a part, beside the residual stream
        for part, x in zip(reversed(layer), reversed(passed), strict=True):
            match part:
                case Add():
                    gradient = gradient if back is None else gradient + back
                    back = scale(gradient, part.factor)
                case Norm():
                    back = rms_norm_gradient(x, self._vector(part.weight), part.stored_epsilon, _known(back))
                case Linear():
                    back = self._back_linear(part, x, _known(back), costs)
                case Attention():
                    turned = partial(self._back_attend, part, x, _known(back))
                    back = np.concatenate(self._workers.map(turned, slices(len(x), self._ids.shape[1])))
                case Gate():
                    back = gate_gradient(part, x, _known(back))
        return gradient + _known(back)

    def _back_attend(self, part: Attention, qkv: Array, gradient: Array, rows: slice) -> Array:
        return attend_gradient(part, self._find, qkv[rows], self._tables.get(part.rope or ""), gradient[rows])

    def _back_linear(self, part: Linear, inputs: Array, gradient: Array, costs: dict[str, float]) -> Array:
        """Go back through a linear layer and note its cost: gradient `(tokens, N)` → `(tokens, K)`."""
        weight = self._weights[part.weight]
        windows = len(self._ids)

        def portion(rows: slice) -> tuple[float, Array]:
            matrix = weight.rows.read(rows.start, rows.stop)
            effects = gradient[:, rows] * (inputs @ rounding_errors(matrix, weight).T)
            cost = (effects.reshape(windows, -1, effects.shape[1]).sum(axis=1) ** 2).sum(dtype=np.float64)
            return float(cost), gradient[:, rows] @ matrix

        result, total = np.zeros_like(inputs), 0.0
        for rows in slices(weight.rows.shape[0], ROWS * 8):  # bounds the gradients that wait to be added
            inner = [slice(rows.start + s.start, rows.start + s.stop) for s in slices(rows.stop - rows.start, ROWS)]
            for cost, summand in self._workers.map(portion, inner):
                total += cost
                result += summand
        costs[weight.name] = total / 2 / len(inputs) * self._remainder(inputs, DAMPING)
        self._progress.advance(weight.name, weight.rows.source_bytes)
        return result

    def _remainder(self, inputs: Array, damping: float) -> float:
        """The share of a weight's cost that is left after error feedback, with H = U D Uᵀ: tr(D) / tr(H)."""
        if not self._calibrated:
            return 1.0
        factors = factorize(self._workers.moments(inputs, inputs), damping)
        return float(factors.diagonal.sum(dtype=np.float64) / np.trace(factors.hessian, dtype=np.float64))

    def _head(self, hidden: Array) -> tuple[Array, float]:
        """Draw a token at each position: the gradient at the last hidden states, and the head's own cost."""
        norm, epsilon = self._vector(self._model.norm.weight), self._model.norm.epsilon
        normed = rms_norm(hidden, norm, epsilon)
        drawn = np.random.default_rng(SEED).random(len(hidden))
        back, total = np.empty_like(hidden), 0.0
        for rows in slices(len(hidden), TOKENS):
            back[rows], cost = self._head_part(normed[rows], drawn[rows])
            total += cost
        cost = total / 2 / len(hidden) * self._remainder(normed, HEAD_DAMPING)
        return rms_norm_gradient(hidden, norm, epsilon, back), cost

    def _head_part(self, normed: Array, drawn: NDArray[np.float64]) -> tuple[Array, float]:
        head = self._weights[HEAD if HEAD in self._weights else EMBEDDING]
        portions = slices(head.rows.shape[0], ROWS * 8)

        def logits(rows: slice) -> tuple[Array, Array]:
            matrix = head.rows.read(rows.start, rows.stop)
            return normed @ matrix.T, normed @ rounding_errors(matrix, head).T

        found = self._workers.map(logits, portions)
        scores, errors = (np.concatenate([pair[i] for pair in found], axis=1) for i in (0, 1))
        scores = finish_logits(self._model, scores)
        slope: Array | np.float32 = np.float32(self._model.logits_factor)
        if self._model.logits_softcap is not None:
            slope = slope * softcap_slope(scores, self._model.logits_softcap)
        errors = errors * slope
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        mean = (shares * errors).sum(axis=1, keepdims=True)
        cost = float((shares * (errors - mean) ** 2).sum(dtype=np.float64))
        reached = np.cumsum(shares, axis=1, dtype=np.float64)
        token = np.minimum((reached < drawn[:, None] * reached[:, -1:]).sum(axis=1), shares.shape[1] - 1)
        shares[np.arange(len(token)), token] -= 1
        shares *= slope
        parts = self._workers.map(lambda rows: shares[:, rows] @ head.rows.read(rows.start, rows.stop), portions)
        return np.sum(parts, axis=0, dtype=np.float32), cost

    def _lookup(self, gradient: Array) -> float:
        """The embedding's cost as a table, from the gradient at the first hidden states."""
        weight = self._weights[EMBEDDING]
        effects = gradient * rounding_errors(embed(weight, self._ids), weight)
        return float((effects.sum(axis=1, dtype=np.float64) ** 2).sum()) / 2 / len(gradient)

    def _linear(self, part: Linear, inputs: Array) -> Array:
        weight, bias = self._weights[part.weight], self._find(part.bias_name)

        def portion(rows: slice) -> Array:
            product: Array = inputs @ weight.rows.read(rows.start, rows.stop).T
            return product

        result = np.concatenate(self._workers.map(portion, slices(weight.rows.shape[0], ROWS)), axis=1)
        return result if bias is None else result + bias

    def _find(self, name: str) -> Array | None:
        return self._vector(name) if name in self._weights else None

    def _vector(self, name: str) -> Array:
        rows = self._weights[name].rows
        return rows.read(0, rows.shape[0])


def _known(gradient: Array | None) -> Array:
    assert gradient is not None, "a layer ends with a sum"
    return gradient


def rounding_errors(matrix: Array, weight: Weight) -> Array:
    """A matrix `(N, K)` less what it is in 4 bits by search."""
    values, scales = quantize(matrix, 4, weight.block_size, weight.name, "search")
    return matrix - dequantize(values, scales, 4, matrix.shape[1])
