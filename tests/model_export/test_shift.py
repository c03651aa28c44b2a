from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model_export.feedback import DAMPING as LEAST
from model_export.parallel import workers
from model_export.rows import ComputedRows
from model_export.shift import Aim, Moments, Shift, missing

Array = NDArray[np.float32]
TOKENS, K = 400, 64
DAMPING = 1e-5


def normal(*shape: int, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def shifted(weight: Array, inputs: Array, aim: Aim) -> Array:
    """The weight `(K, N)` after the shift, in its own order."""
    found = np.empty_like(weight)
    with workers(2) as pool:
        moments = Moments.of(inputs, 32, DAMPING, pool)
        shift = Shift.towards(aim, inputs, ComputedRows(np.ascontiguousarray(weight.T)), moments, pool, DAMPING)
    for rows in (slice(0, 16), slice(16, weight.shape[1])):
        part = np.ascontiguousarray(weight[moments.order, rows])
        shift.apply(part, rows)
        found[moments.order, rows] = part
    return found


@pytest.mark.parametrize("n", [48, 80])
def test_a_weight_makes_up_for_wrong_inputs(n: int) -> None:
    exact, weight = normal(TOKENS, K, seed=0), normal(K, n, seed=1)
    mixing: Array = np.eye(K, dtype=np.float32) + np.float32(0.1 / 8) * normal(K, K, seed=2)
    inputs = exact @ mixing  # a loss that a weight can undo
    found = shifted(weight, inputs, Aim(exact, None))
    np.testing.assert_allclose(inputs @ found, exact @ weight, atol=0.02)


@pytest.mark.parametrize("n", [48, 80])
def test_a_weight_adds_what_the_hidden_states_lack(n: int) -> None:
    inputs, weight, lacking = (normal(*shape, seed=i) for i, shape in enumerate(((TOKENS, K), (K, n), (K, n))))
    found = shifted(weight, inputs, Aim(inputs, inputs @ lacking))
    np.testing.assert_allclose(found, weight + lacking, atol=0.01)


@pytest.mark.parametrize("n", [48, 80])
def test_right_inputs_leave_a_weight_as_it_is(n: int) -> None:
    inputs, weight = normal(TOKENS, K, seed=0), normal(K, n, seed=1)
    aim = Aim(inputs, np.zeros((TOKENS, n), dtype=np.float32))
    np.testing.assert_array_equal(shifted(weight, inputs, aim), weight)


def change(tokens: int, damping: float | None) -> float:
    """How large a shift towards mere noise is."""
    inputs, weight, noise = (normal(*s, seed=i) for i, s in enumerate(((tokens, K), (K, 48), (tokens, 48))))
    with workers(2) as pool:
        moments = Moments.of(inputs, 32, LEAST, pool)
        rows = ComputedRows(np.ascontiguousarray(weight.T))
        shift = Shift.towards(Aim(inputs, noise), inputs, rows, moments, pool, damping)
    assert shift.addend is not None
    return float(np.linalg.norm(shift.addend))


def test_few_tokens_are_trusted_less() -> None:
    assert change(4 * K, None) < 0.6 * change(4 * K, LEAST)


def test_many_tokens_are_trusted_as_much_as_the_rounding_trusts_them() -> None:
    assert change(200 * K, None) == change(200 * K, LEAST)


def test_hidden_states_lack_little_where_they_are_huge() -> None:
    rounded = normal(9, K, seed=0)
    rounded[0] *= 1000
    found = missing(np.stack([rounded * np.float32(1.01), rounded]))
    sizes = np.linalg.norm(found, axis=1)
    assert sizes[0] < 0.01 * np.median(sizes)
    assert np.argsort(sizes)[0] == 0
