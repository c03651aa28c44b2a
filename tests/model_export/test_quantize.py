from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model_export.errors import QuantizationRange
from model_export.quantize import blocks_per_row, dequantize, quantize

Floats = NDArray[np.float32]
BITS = st.sampled_from([4, 8])
BLOCK_SIZES = st.sampled_from([16, 32, 64, 128, 256])


@st.composite
def matrices(draw: st.DrawFn, smallest: float = -12, largest: float = 3) -> Floats:
    """Matrices of any shape whose weights have the size of a drawn power of ten, some of them outliers."""
    rows, k = draw(st.integers(1, 9)), draw(st.integers(1, 300))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scale = 10 ** draw(st.floats(smallest, largest))
    weights = rng.standard_normal((rows, k)) * scale * np.where(rng.random((rows, k)) < 0.05, 20, 1)
    return weights.astype(np.float32)


def there_and_back(weights: Floats, bits: int, block_size: int) -> tuple[Floats, Floats]:
    """Dequantized weights, and the scale of each."""
    values, scales = quantize(weights, bits, block_size)
    spread = np.repeat(scales.astype(np.float32), block_size, axis=1)[:, : weights.shape[1]]
    return dequantize(values, scales, bits, weights.shape[1]), spread


@settings(deadline=None)
@given(matrices(), BITS, BLOCK_SIZES)
def test_every_weight_is_within_half_a_step(weights: Floats, bits: int, block_size: int) -> None:
    found, scale = there_and_back(weights, bits, block_size)
    assert (np.abs(found - weights) <= scale * 0.5 + np.abs(weights) * 1e-6).all()


@settings(deadline=None)
@given(matrices(smallest=1), BITS, BLOCK_SIZES)
def test_a_step_is_the_largest_weight_s_share(weights: Floats, bits: int, block_size: int) -> None:
    _, scales = quantize(weights, bits, block_size)
    for block in range(scales.shape[1]):
        largest = np.abs(weights[:, block * block_size : (block + 1) * block_size]).max(axis=1)
        np.testing.assert_allclose(scales[:, block], largest / (2 ** (bits - 1) - 1), rtol=1e-3, atol=1e-7)


@settings(deadline=None)
@given(matrices(smallest=1), BITS, BLOCK_SIZES)
def test_quantizing_what_was_quantized_changes_nothing(weights: Floats, bits: int, block_size: int) -> None:
    once, _ = there_and_back(weights, bits, block_size)
    twice, _ = there_and_back(once, bits, block_size)
    np.testing.assert_array_equal(twice, once)


@settings(deadline=None)
@given(matrices(), BITS, BLOCK_SIZES, st.data())
def test_zeros_stay_zero(weights: Floats, bits: int, block_size: int, data: st.DataObject) -> None:
    zeros = np.random.default_rng(data.draw(st.integers(0, 99))).random(weights.shape) < 0.3
    weights[zeros] = 0
    found, _ = there_and_back(weights, bits, block_size)
    assert (found[zeros] == 0).all()


@settings(deadline=None)
@given(matrices(), BITS, BLOCK_SIZES)
def test_shapes_follow_from_rows_blocks_and_bits(weights: Floats, bits: int, block_size: int) -> None:
    values, scales = quantize(weights, bits, block_size)
    blocks = blocks_per_row(weights.shape[1], block_size)
    assert values.shape == (len(weights), blocks, block_size * bits // 8)
    assert scales.shape == (len(weights), blocks)


def test_golden_bytes_of_4_bits() -> None:
    weights = np.zeros((2, 20), dtype=np.float32)
    weights[0, :16] = [0, 1, 2, 3, -1, -2, -3, 7, -7, 0.4, 0.6, 1.5, 2.5, -0.5, 6.6, 5]  # scale 1
    weights[0, 16:] = [14, -14, 2, 0]  # scale 2
    weights[1, 16:] = [-3.5, 3.5, 0.5, -0.5]  # scale 0.5, after a block of zeros
    values, scales = quantize(weights, 4, 16)
    assert values[0, 0].tobytes().hex() == "98ba67f581a98adf"
    assert values[0, 1].tobytes().hex() == "1f89888888888888"
    assert values[1, 0].tobytes().hex() == "8888888888888888"
    assert values[1, 1].tobytes().hex() == "f179888888888888"
    assert scales.tolist() == [[1, 2], [0, 0.5]]


def test_golden_bytes_of_8_bits() -> None:
    values, scales = quantize(np.array([[127, -127, 0, 1, -1, 63.5]], dtype=np.float32), 8, 16)
    assert values.tobytes().hex() == "ff0180817fc0" + "80" * 10
    assert scales.tolist() == [[1]]


def test_golden_bytes_read_back() -> None:
    values = np.frombuffer(bytes.fromhex("98ba67f581a98adf"), dtype=np.uint8).reshape(1, 1, 8)
    found = dequantize(values, np.array([[0.5]], dtype=np.float16), 4, 15)
    assert found.tolist() == [[0, 0.5, 1, 1.5, -0.5, -1, -1.5, 3.5, -3.5, 0, 0.5, 1, 1, 0, 3.5]]


@pytest.mark.parametrize("bits", [4, 8])
def test_equal_weights_stay_equal(bits: int) -> None:
    found, _ = there_and_back(np.full((3, 40), -0.25, dtype=np.float32), bits, 32)
    np.testing.assert_allclose(found, -0.25, rtol=1e-3)
    assert len(np.unique(found)) == 1


@pytest.mark.parametrize("bits", [4, 8])
def test_the_largest_weight_that_an_f16_scale_can_hold(bits: int) -> None:
    limit = 2 ** (bits - 1) - 1
    found, _ = there_and_back(np.full((1, 16), 65504.0 * limit, dtype=np.float32), bits, 16)
    assert (found == 65504.0 * limit).all()


@pytest.mark.parametrize("bits", [4, 8])
def test_a_larger_weight_is_refused_by_name(bits: int) -> None:
    weights = np.zeros((2, 16), dtype=np.float32)
    weights[1, 3] = -66000.0 * (2 ** (bits - 1) - 1)
    with pytest.raises(QuantizationRange, match=r"mlp.*too large for"):
        quantize(weights, bits, 16, "mlp.down_proj.weight")


@pytest.mark.parametrize("size", [1e-45, 1e-38, 1e-20, 6e-8, 3e-7, 1e-6, 6e-5])
@pytest.mark.parametrize("bits", [4, 8])
def test_tiny_and_denormal_weights_are_not_clipped(size: float, bits: int) -> None:
    weights = (np.linspace(-1, 1, 33, dtype=np.float32) * np.float32(size)).reshape(1, 33)
    found, scale = there_and_back(weights, bits, 16)
    assert (np.abs(found - weights) <= scale * 0.5 * 1.0001).all()


def test_a_matrix_without_rows() -> None:
    values, scales = quantize(np.zeros((0, 32), dtype=np.float32), 4, 32)
    assert values.shape == (0, 1, 16)
    assert scales.shape == (0, 1)


def test_weights_of_the_caller_are_left_alone() -> None:
    weights = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    before = weights.copy()
    quantize(weights, 4, 32)
    np.testing.assert_array_equal(weights, before)
