from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_export.feedback import factorize, round_with_feedback
from model_export.quantize import scale_units, snap
from model_export.refine import refine
from tests.model_export.test_feedback import correlated_inputs, factors_of, normal, output_error, restored


@given(st.integers(0, 1000), st.sampled_from([(64, 16), (40, 32), (300, 32), (300, 256)]))
def test_a_pass_makes_the_outputs_error_no_larger(seed: int, shape: tuple[int, int]) -> None:
    k, block_size = shape
    weight, factors = normal(k, 6, seed), factors_of(correlated_inputs(k))
    rounded = round_with_feedback(weight, factors, block_size, "w")
    before = (rounded.errors * (factors.hessian @ rounded.errors)).sum()
    refine(weight, rounded, factors, block_size)
    after = (rounded.errors * (factors.hessian @ rounded.errors)).sum()
    assert after <= before * 1.001  # scales are rounded to f16


def test_it_is_worth_a_pass() -> None:
    inputs, weight = correlated_inputs(256), normal(256, 32)
    factors = factors_of(inputs)
    rounded = round_with_feedback(weight, factors, 32, "w")
    before = output_error(inputs, rounded.errors)
    refine(weight, rounded, factors, 32)
    assert output_error(inputs, rounded.errors) < 0.97 * before


@pytest.mark.parametrize(("k", "block_size"), [(40, 32), (7, 16), (600, 32)])
def test_codes_scales_and_errors_stay_one(k: int, block_size: int) -> None:
    weight, factors = normal(k, 5), factors_of(correlated_inputs(k))
    rounded = round_with_feedback(weight, factors, block_size, "w")
    refine(weight, rounded, factors, block_size)
    np.testing.assert_allclose(restored(rounded, block_size), weight - rounded.errors, atol=1e-6)


def test_scales_become_multiples_of_units() -> None:
    weight, factors = normal(300, 5), factors_of(correlated_inputs(300))
    rounded = round_with_feedback(weight, factors, 32, "w")
    units = scale_units(np.abs(rounded.scales).max(axis=0))
    refine(weight, rounded, factors, 32, units)
    np.testing.assert_array_equal(snap(rounded.scales, units), rounded.scales)
    np.testing.assert_allclose(restored(rounded, 32), weight - rounded.errors, atol=1e-6)


@pytest.mark.parametrize("size", [0.0, 1e-38, 1e-7, 1.0, 1e5])
def test_any_magnitude_is_refined_without_a_warning(size: float) -> None:
    weight, factors = normal(64, 4) * np.float32(size), factorize(np.eye(64))
    rounded = round_with_feedback(weight, factors, 32, "w")
    refine(weight, rounded, factors, 32)
    assert np.isfinite(rounded.errors).all()
