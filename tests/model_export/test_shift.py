from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_export.feedback import factorize, rounding_order
from model_export.parallel import workers
from model_export.shift import Aim, Shift, missing

Array = NDArray[np.float32]
TOKENS, K, N = 400, 64, 48


def normal(*shape: int, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def shifted(weight: Array, inputs: Array, aim: Aim) -> Array:
    """The weight `(K, N)` after the shift, in its own order."""
    moments = (inputs.T @ inputs).astype(np.float64)
    mean, order = float(np.diagonal(moments).mean()), rounding_order(np.diagonal(moments), 32)
    with workers(2) as pool:
        shift = Shift.towards(aim, inputs, factorize(moments[np.ix_(order, order)], 1e-5), order, mean, pool)
    found, moved = np.empty_like(weight), weight[order]
    for rows in (slice(0, 16), slice(16, N)):
        part = np.ascontiguousarray(moved[:, rows])
        shift.apply(part, rows)
        found[order, rows] = part
    return found


def test_a_weight_makes_up_for_wrong_inputs() -> None:
    exact, weight = normal(TOKENS, K, seed=0), normal(K, N, seed=1)
    mixing = np.eye(K, dtype=np.float32) + np.float32(0.1) * normal(K, K, seed=2)
    inputs = exact @ mixing  # a loss that a weight can undo
    found = shifted(weight, inputs, Aim(exact, None))
    np.testing.assert_allclose(inputs @ found, exact @ weight, atol=0.02)


def test_a_weight_adds_what_the_hidden_states_lack() -> None:
    inputs, weight, lacking = (normal(*shape, seed=i) for i, shape in enumerate(((TOKENS, K), (K, N), (K, N))))
    found = shifted(weight, inputs, Aim(inputs, inputs @ lacking))
    np.testing.assert_allclose(found, weight + lacking, atol=0.01)


def test_right_inputs_leave_a_weight_as_it_is() -> None:
    inputs, weight = normal(TOKENS, K, seed=0), normal(K, N, seed=1)
    np.testing.assert_array_equal(shifted(weight, inputs, Aim(inputs, np.zeros((TOKENS, N), np.float32))), weight)


def test_hidden_states_lack_little_where_they_are_huge() -> None:
    rounded = normal(9, K, seed=0)
    rounded[0] *= 1000
    found = missing(np.stack([rounded * np.float32(1.01), rounded]))
    sizes = np.linalg.norm(found, axis=1)
    assert sizes[0] < 0.01 * np.median(sizes)
    assert np.argsort(sizes)[0] == 0
