from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from model_export.options import Rounding
from model_export.quantize import dequantize, quantize
from model_export.search import search_scales

WEIGHTS = arrays(np.float32, (3, 64), elements=st.floats(-100, 100, width=32))


def squared_error(weights: NDArray[np.float32], rounding: Rounding) -> NDArray[np.float32]:
    values, scales = quantize(weights, 4, 32, rounding=rounding)
    difference = (weights - dequantize(values, scales, 4, weights.shape[1])).reshape(-1, 32)
    result: NDArray[np.float32] = (difference**2).sum(axis=1)
    return result


@given(WEIGHTS)
def test_no_block_is_worse_than_by_nearest(weights: NDArray[np.float32]) -> None:
    searched, nearest = squared_error(weights, "search"), squared_error(weights, "nearest")
    # Rounding a scale to f16 moves an error by so much at most.
    slack = 1e-3 * (weights.reshape(-1, 32) ** 2).sum(axis=1)
    assert (searched <= nearest + slack).all()


def test_normal_weights_lose_a_quarter_of_their_error() -> None:
    weights = np.random.default_rng(0).standard_normal((64, 256), dtype=np.float32)
    assert squared_error(weights, "search").sum() < 0.75 * squared_error(weights, "nearest").sum()


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_magnitude_gets_the_sixteenth_level_whatever_its_sign(sign: int) -> None:
    weights = np.zeros((1, 32), dtype=np.float32)
    weights[0, :9] = sign * np.array([8, -7, 6, -5, 4, -3, 2, -1, 1])
    values, scales = quantize(weights, 4, 32, rounding="search")
    assert scales[0, 0] == -sign
    np.testing.assert_array_equal(dequantize(values, scales, 4, 32), weights)


def test_zeros_have_no_scale() -> None:
    assert search_scales(np.zeros((1, 2, 32), dtype=np.float32)).tolist() == [[0, 0]]


@pytest.mark.parametrize("magnitude", [1e-38, 1e-12, 6e-8, 3e-5, 1.0, 4e5])
def test_any_magnitude_is_quantized_without_a_warning(magnitude: float) -> None:
    weights = np.random.default_rng(1).uniform(-1, 1, (4, 32)).astype(np.float32) * np.float32(magnitude)
    values, scales = quantize(weights, 4, 32, rounding="search")
    found = dequantize(values, scales, 4, 32)
    assert np.abs(found - weights).max() <= max(magnitude / 4, 4e-7)


# The search maps the largest magnitude to 6, 7 or 8 levels.
@given(arrays(np.int8, (3, 32), elements=st.integers(-5, 5)), st.sampled_from([-8, -7, -6, 6, 7]), st.floats(1e-3, 100))
def test_what_is_quantized_stays_as_it_is(levels: NDArray[np.int8], extreme: int, scale: float) -> None:
    levels[:, 7] = extreme
    once = levels * np.float32(np.float16(scale))
    twice = dequantize(*quantize(once, 4, 32, rounding="search"), 4, 32)
    np.testing.assert_allclose(twice, once, rtol=2e-3, atol=1e-6)
