from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model_export.errors import QuantizationRange
from model_export.feedback import (
    Factors,
    Rounded,
    damp_further,
    factorize,
    round_with_feedback,
    rounding_order,
    solve,
)
from model_export.parallel import workers
from model_export.quantize import dequantize, quantize


def correlated_inputs(k: int, tokens: int = 600) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((k, k)) * np.linspace(0.05, 1, k)
    return (rng.standard_normal((tokens, k)) @ mixing).astype(np.float32)


def factors_of(inputs: NDArray[np.float32]) -> Factors:
    return factorize((inputs.T @ inputs).astype(np.float64))


def normal(k: int, rows: int, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((k, rows), dtype=np.float32)


def output_error(inputs: NDArray[np.float32], errors: NDArray[np.float32]) -> float:
    return float(((inputs @ errors) ** 2).sum())


def search_errors(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    found = dequantize(*quantize(np.ascontiguousarray(weight.T), 4, 32, rounding="search"), 4, len(weight))
    return weight - found.T


def restored(rounded: Rounded, block_size: int) -> NDArray[np.float32]:
    scales = np.repeat(rounded.scales.astype(np.float32), block_size, axis=0)[: len(rounded.codes)]
    result: NDArray[np.float32] = (rounded.codes.astype(np.float32) - 8) * scales
    return result


def test_the_factors_give_the_damped_matrix_back() -> None:
    inputs = correlated_inputs(24).astype(np.float64)
    hessian = inputs.T @ inputs
    mean = np.diagonal(hessian).mean()
    factors = factorize(hessian.copy(), 0.01)
    damped = hessian / mean + 0.01 * np.eye(24)
    np.testing.assert_allclose(factors.hessian, damped, rtol=1e-6)
    np.testing.assert_array_equal(factors.upper, np.triu(factors.upper))
    product = (factors.upper * factors.diagonal) @ factors.upper.T
    np.testing.assert_allclose(product, damped, atol=1e-5 * np.abs(damped).max())


def test_damping_further_is_as_if_it_had_been_damped_so_at_once() -> None:
    inputs = correlated_inputs(24).astype(np.float64)
    hessian = inputs.T @ inputs
    at_once, further = factorize(hessian.copy(), 0.5), damp_further(factorize(hessian, 0.1), 0.4)
    np.testing.assert_allclose(further.hessian, at_once.hessian, rtol=1e-5)
    np.testing.assert_allclose(further.upper, at_once.upper, atol=1e-5)
    np.testing.assert_allclose(further.diagonal, at_once.diagonal, rtol=1e-5)


@pytest.mark.parametrize("k", [24, 600])
def test_what_is_solved_fits_the_damped_matrix(k: int) -> None:
    factors = factors_of(correlated_inputs(k))
    right = normal(k, 5)
    with workers(2) as pool:
        found = solve(factors, right.copy(), pool)
    np.testing.assert_allclose(factors.hessian @ found, right, atol=2e-3)


def test_blocks_with_large_inputs_come_first_and_a_short_one_last() -> None:
    squares = np.array([1, 1, 5, 0, 2, 2, 9, 9], dtype=np.float64)
    assert rounding_order(squares[:7], 2).tolist() == [2, 3, 4, 5, 0, 1, 6]
    assert rounding_order(squares, 2).tolist() == [6, 7, 2, 3, 4, 5, 0, 1]


def test_the_outputs_error_is_smaller_than_without_feedback() -> None:
    inputs, weight = correlated_inputs(128), normal(128, 40)
    found = round_with_feedback(weight, factors_of(inputs), 32, "w")
    assert output_error(inputs, found.errors) < 0.75 * output_error(inputs, search_errors(weight))


def test_inputs_without_correlation_leave_nothing_to_feed_back() -> None:
    weight = normal(64, 8, seed=2)
    found = round_with_feedback(weight, factorize(np.eye(64)), 32, "w")
    np.testing.assert_allclose((found.errors**2).sum(), (search_errors(weight) ** 2).sum(), rtol=1e-3)


@pytest.mark.parametrize(("k", "block_size"), [(40, 32), (7, 16), (64, 16), (300, 256), (600, 32)])
def test_codes_and_scales_say_what_was_rounded(k: int, block_size: int) -> None:
    weight = normal(k, 5, seed=3)
    found = round_with_feedback(weight, factors_of(correlated_inputs(k)), block_size, "w")
    assert found.scales.shape == (-(-k // block_size), 5)
    np.testing.assert_allclose(restored(found, block_size), weight - found.errors, atol=1e-6)


def test_an_input_that_is_always_zero_does_no_harm() -> None:
    inputs = correlated_inputs(32)
    inputs[:, 5] = 0
    assert np.isfinite(round_with_feedback(normal(32, 3), factors_of(inputs), 32, "w").errors).all()
    assert np.isfinite(factorize(np.zeros((4, 4))).upper).all()


@pytest.mark.parametrize("size", [0.0, 1e-38, 1e-7, 1.0, 1e5])
def test_any_magnitude_is_rounded_without_a_warning(size: float) -> None:
    weight = normal(64, 4) * np.float32(size)
    errors = round_with_feedback(weight, factors_of(correlated_inputs(64)), 32, "w").errors
    assert np.abs(errors).max() <= max(size, 4e-7)


def test_a_weight_beyond_f16_scales_is_refused_by_name() -> None:
    with pytest.raises(QuantizationRange, match=r"mlp\.down.*too large"):
        round_with_feedback(np.full((32, 2), 1e6, dtype=np.float32), factorize(np.eye(32)), 32, "mlp.down")
