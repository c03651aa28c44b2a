"""What rounding a weight to 4 bits costs: the divergence from the unrounded model that it is expected to cause.

To second order, the Kullback-Leibler divergence that errors δ of a layer's outputs cause is half the mean square of
g·δ, where g is the gradient of the log-probability of a token drawn from the model's own distribution (its Fisher
information). The gradients are taken by going back through the unrounded decoder, a layer at a time; the errors are
those of rounding by search. Rows of a weight are rounded independently, so their squares add up.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model_export.calibrate import HEAD_DAMPING, LINEARS, embed
from model_export.config import ModelConfig
from model_export.feedback import DAMPING, factorize
from model_export.gradient import attend_gradient, gate_gradient, rms_norm_gradient
from model_export.parallel import ROWS, Workers, slices
from model_export.progress import Progress
from model_export.quantize import dequantize, quantize
from model_export.reference import Array, attend, gate, rms_norm
from model_export.weights import COSINES, EMBEDDING, HEAD, SINES, Weight

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
        self._cosines, self._sines = (self._vector(n)[: ids.shape[1]] for n in (COSINES, SINES))

    def costs(self) -> dict[str, float]:
        """Give, for each weight that can be quantized, the mean divergence a token in nats that 4 bits add."""
        self._progress = Progress(self._todo(), done="measured")
        hidden = embed(self._weights[EMBEDDING], self._ids)
        layers = [f"model.layers.{layer}" for layer in range(self._config.num_hidden_layers)]
        passed = []
        for layer in layers:
            passed.append(hidden)
            hidden = self._layer(layer, hidden)[-1]
            for linear in LINEARS:
                self._progress.advance(layer, self._weights[f"{layer}.{linear}.weight"].rows.source_bytes)
        gradient, head_cost = self._head(hidden)
        costs: dict[str, float] = {}
        for layer, inputs in zip(reversed(layers), reversed(passed), strict=True):
            gradient = self._back(layer, inputs, gradient, costs)
        costs[EMBEDDING] = self._lookup(gradient)
        head = HEAD if HEAD in self._weights else EMBEDDING
        costs[head] = costs.get(head, 0.0) + head_cost
        self._progress.close()
        return costs

    def _todo(self) -> int:
        linears = [weight for name, weight in self._weights.items() if name.startswith("model.layers.")]
        return 2 * sum(weight.rows.source_bytes for weight in linears if weight.bits is not None)

    def _layer(self, layer: str, hidden: Array) -> tuple[Array, ...]:
        """Outputs of qkv_proj, of attention, the hidden states between, outputs of gate_up_proj, and the next ones."""
        normed = rms_norm(hidden, self._vector(f"{layer}.input_layernorm.weight"), self._config.rms_norm_eps)
        qkv = self._linear(f"{layer}.self_attn.qkv_proj", normed)
        block, length = f"{layer}.self_attn", self._ids.shape[1]

        def attended(rows: slice) -> Array:
            return attend(self._config, self._find, block, qkv[rows], self._cosines, self._sines)

        mixed = np.concatenate(self._workers.map(attended, slices(len(qkv), length)))
        between = hidden + self._linear(f"{layer}.self_attn.o_proj", mixed)
        norm = self._vector(f"{layer}.post_attention_layernorm.weight")
        gate_up = self._linear(f"{layer}.mlp.gate_up_proj", rms_norm(between, norm, self._config.rms_norm_eps))
        after = between + self._linear(f"{layer}.mlp.down_proj", gate(self._config, gate_up))
        return qkv, mixed, between, gate_up, after

    def _back(self, layer: str, hidden: Array, gradient: Array, costs: dict[str, float]) -> Array:
        """Go back through a layer: gradient `(tokens, hidden_size)` at its end → at its beginning."""
        epsilon = self._config.rms_norm_eps
        qkv, mixed, between, gate_up, _ = self._layer(layer, hidden)
        back = self._back_linear(f"{layer}.mlp.down_proj", gate(self._config, gate_up), gradient, costs)
        back = gate_gradient(self._config, gate_up, back)
        norm = self._vector(f"{layer}.post_attention_layernorm.weight")
        back = self._back_linear(f"{layer}.mlp.gate_up_proj", rms_norm(between, norm, epsilon), back, costs)
        gradient = gradient + rms_norm_gradient(between, norm, epsilon, back)
        back = self._back_linear(f"{layer}.self_attn.o_proj", mixed, gradient, costs)
        block, length = f"{layer}.self_attn", self._ids.shape[1]

        def attended(rows: slice) -> Array:
            cosines, sines = self._cosines, self._sines
            return attend_gradient(self._config, self._find, block, qkv[rows], cosines, sines, back[rows])

        by_qkv = np.concatenate(self._workers.map(attended, slices(len(qkv), length)))
        norm = self._vector(f"{layer}.input_layernorm.weight")
        back = self._back_linear(f"{layer}.self_attn.qkv_proj", rms_norm(hidden, norm, epsilon), by_qkv, costs)
        return gradient + rms_norm_gradient(hidden, norm, epsilon, back)

    def _back_linear(self, name: str, inputs: Array, gradient: Array, costs: dict[str, float]) -> Array:
        """Go back through a linear layer and note its cost: gradient `(tokens, N)` → `(tokens, K)`."""
        weight = self._weights[f"{name}.weight"]
        windows = len(self._ids)

        def portion(rows: slice) -> tuple[float, Array]:
            matrix = weight.rows.read(rows.start, rows.stop)
            effects = gradient[:, rows] * (inputs @ rounding_errors(matrix, weight).T)
            cost = (effects.reshape(windows, -1, effects.shape[1]).sum(axis=1) ** 2).sum(dtype=np.float64)
            return float(cost), gradient[:, rows] @ matrix

        result, total = np.zeros_like(inputs), 0.0
        for rows in slices(weight.rows.shape[0], ROWS * 8):  # bounds the gradients that wait to be added
            inner = [slice(rows.start + s.start, rows.start + s.stop) for s in slices(rows.stop - rows.start, ROWS)]
            for cost, part in self._workers.map(portion, inner):
                total += cost
                result += part
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
        norm, epsilon = self._vector("model.norm.weight"), self._config.rms_norm_eps
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
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        mean = (shares * errors).sum(axis=1, keepdims=True)
        cost = float((shares * (errors - mean) ** 2).sum(dtype=np.float64))
        reached = np.cumsum(shares, axis=1, dtype=np.float64)
        token = np.minimum((reached < drawn[:, None] * reached[:, -1:]).sum(axis=1), shares.shape[1] - 1)
        shares[np.arange(len(token)), token] -= 1
        parts = self._workers.map(lambda rows: shares[:, rows] @ head.rows.read(rows.start, rows.stop), portions)
        return np.sum(parts, axis=0, dtype=np.float32), cost

    def _lookup(self, gradient: Array) -> float:
        """The embedding's cost as a table, from the gradient at the first hidden states."""
        weight = self._weights[EMBEDDING]
        effects = gradient * rounding_errors(embed(weight, self._ids), weight)
        return float((effects.sum(axis=1, dtype=np.float64) ** 2).sum()) / 2 / len(gradient)

    def _linear(self, name: str, inputs: Array) -> Array:
        weight, bias = self._weights[f"{name}.weight"], self._find(f"{name}.bias")

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


def rounding_errors(matrix: Array, weight: Weight) -> Array:
    """A matrix `(N, K)` less what it is in 4 bits by search."""
    values, scales = quantize(matrix, 4, weight.block_size, weight.name, "search")
    return matrix - dequantize(values, scales, 4, matrix.shape[1])
