from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model_export.feedback import quantize_with_feedback, unit_upper
from model_export.quantize import dequantize, quantize


def correlated_inputs(k: int, tokens: int = 600) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((k, k)) * np.linspace(0.05, 1, k)
    return (rng.standard_normal((tokens, k)) @ mixing).astype(np.float32)


def output_error(inputs: NDArray[np.float32], weight: NDArray[np.float32], rounded: NDArray[np.float32]) -> float:
    return float(((inputs @ (weight - rounded).T) ** 2).sum())


def test_the_factor_gives_the_damped_matrix_back() -> None:
    inputs = correlated_inputs(24).astype(np.float64)
    hessian = inputs.T @ inputs
    upper = unit_upper(hessian.copy()).astype(np.float64)
    damped = hessian + 0.01 * np.diagonal(hessian).mean() * np.eye(24)
    inverse = np.linalg.inv(upper)
    diagonal = inverse @ damped @ inverse.T
    np.testing.assert_array_equal(upper, np.triu(upper))
    np.testing.assert_allclose(diagonal, np.diag(np.diagonal(diagonal)), atol=1e-3 * np.abs(damped).max())


def test_the_outputs_error_is_smaller_than_without_feedback() -> None:
    inputs = correlated_inputs(128)
    weight = np.random.default_rng(1).standard_normal((40, 128), dtype=np.float32)
    hessian = (inputs.T @ inputs).astype(np.float64)
    _, _, calibrated = quantize_with_feedback(weight, unit_upper(hessian), 32, "w")
    searched = dequantize(*quantize(weight, 4, 32, rounding="search"), 4, 128)
    assert output_error(inputs, weight, calibrated) < 0.85 * output_error(inputs, weight, searched)


def test_inputs_without_correlation_leave_nothing_to_feed_back() -> None:
    weight = np.random.default_rng(2).standard_normal((8, 64), dtype=np.float32)
    values, scales, rounded = quantize_with_feedback(weight, unit_upper(np.eye(64)), 32, "w")
    expected_values, expected_scales = quantize(weight, 4, 32, rounding="search")
    np.testing.assert_array_equal(values, expected_values)
    np.testing.assert_array_equal(scales, expected_scales)
    np.testing.assert_array_equal(rounded, dequantize(values, scales, 4, 64))


@pytest.mark.parametrize(("k", "block_size"), [(40, 32), (7, 16), (64, 16)])
def test_values_and_scales_say_what_was_rounded(k: int, block_size: int) -> None:
    inputs = correlated_inputs(k)
    weight = np.random.default_rng(3).standard_normal((5, k), dtype=np.float32)
    upper = unit_upper((inputs.T @ inputs).astype(np.float64))
    values, scales, rounded = quantize_with_feedback(weight, upper, block_size, "w")
    np.testing.assert_allclose(dequantize(values, scales, 4, k), rounded, atol=1e-6)


def test_an_input_that_is_always_zero_does_no_harm() -> None:
    inputs = correlated_inputs(32)
    inputs[:, 5] = 0
    weight = np.random.default_rng(4).standard_normal((3, 32), dtype=np.float32)
    _, _, rounded = quantize_with_feedback(weight, unit_upper((inputs.T @ inputs).astype(np.float64)), 32, "w")
    assert np.isfinite(rounded).all()
    assert np.isfinite(unit_upper(np.zeros((4, 4)))).all()
