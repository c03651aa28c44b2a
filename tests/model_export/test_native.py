from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model_export import native
from model_export.quantize import blocks_per_row, quantize, unpack

Quantized = tuple[NDArray[np.uint8], NDArray[np.float16]]


def some(n: int, k: int, bits: int, seed: int = 0) -> Quantized:
    weight = np.random.default_rng(seed).standard_normal((n, k)).astype(np.float32)
    return quantize(weight, bits, 32, rounding="search")


def packed(n: int, k: int, bits: int) -> NDArray[np.uint8]:
    return native.pack(*some(n, k, bits), bits)


def value_at(records: NDArray[np.uint8], row: int, column: int, bits: int) -> tuple[int, float]:
    """A value and its scale, found byte by byte as the specification says."""
    record = records[row // 16, column // 64]
    block, within = column % 64 // 32, column % 32
    scale = float(record[:64].view("<f2").reshape(2, 16)[block, row % 16])
    if bits == 8:
        return int(record[64 + 512 * block + 64 * (within // 4) + 4 * (row % 16) + within % 4]), scale
    byte = int(record[64 + 256 * block + 64 * (within // 8) + 4 * (row % 16) + within % 4])
    return (byte & 15, scale) if within % 8 < 4 else (byte >> 4, scale)


@pytest.mark.parametrize("bits", [4, 8])
def test_every_value_lies_where_the_specification_says(bits: int) -> None:
    n, k = 37, 100
    values, scales = some(n, k, bits)
    codes, records = unpack(values, bits).reshape(n, -1), native.pack(values, scales, bits)
    for row in range(n):
        for column in range(k):
            assert value_at(records, row, column, bits) == (codes[row, column], float(scales[row, column // 32]))


@pytest.mark.parametrize("bits", [4, 8])
def test_padding_is_the_zero_point_and_its_blocks_have_the_scale_0(bits: int) -> None:
    records = packed(17, 70, bits)
    assert records.shape == (2, 2, {4: 576, 8: 1088}[bits])
    for row, column in [(17, 0), (31, 127), (0, 70), (16, 95), (5, 96)]:
        value, scale = value_at(records, row, column, bits)
        assert value == 2 ** (bits - 1)
        assert (scale == 0) == (row >= 17 or column >= 96)


# Of a counting pattern, put together byte by byte from the specification; it may never change.
GOLDEN = {
    4: "6f20b643045aee2a39ab3211ff0f6fab54aa0d980655986670a2981c12fa0cdd",
    8: "787755786caeee824c3b4233d92321f172fb9e3ff80ab45d83d7ac6c237ce70a",
}


@pytest.mark.parametrize("bits", [4, 8])
def test_golden_bytes(bits: int) -> None:
    n, k = 20, 72
    codes = (np.arange(n)[:, None] * 7 + np.arange(96)[None, :] * 3) % 2**bits
    codes[:, k:] = 2 ** (bits - 1)
    values = codes.astype(np.uint8).reshape(n, 3, 32)
    if bits == 4:
        values = values[..., 0::2] | (values[..., 1::2] << np.uint8(4))
    scales = ((np.arange(n)[:, None] - np.arange(3)[None, :]) / 8).astype(np.float16)
    records = native.pack(values, scales, bits)
    assert hashlib.sha256(records.tobytes()).hexdigest() == GOLDEN[bits]


@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 70), k=st.integers(1, 300), bits=st.sampled_from([4, 8]), seed=st.integers(0, 99))
def test_there_and_back(n: int, k: int, bits: int, seed: int) -> None:
    values, scales = some(n, k, bits, seed)
    records = native.pack(values, scales, bits)
    found = native.unpack(records, n, k, bits)
    np.testing.assert_array_equal(found[0], values)
    np.testing.assert_array_equal(found[1].view(np.uint16), scales.view(np.uint16))
    np.testing.assert_array_equal(native.pack(*found, bits), records)


@settings(deadline=None, max_examples=20)
@given(n=st.integers(1, 40), k=st.integers(1, 200), bits=st.sampled_from([4, 8]), data=st.data())
def test_any_values_and_scales_come_back(n: int, k: int, bits: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    blocks = blocks_per_row(k, 32)
    codes = rng.integers(0, 2**bits, (n, blocks * 32), dtype=np.uint8)
    codes[:, k:] = 2 ** (bits - 1)
    pairs = codes.reshape(n, blocks, 32)
    values = pairs if bits == 8 else pairs[..., 0::2] | (pairs[..., 1::2] << np.uint8(4))
    scales = rng.integers(0, 0x7C00, (n, blocks), dtype=np.uint16).view(np.float16)
    found = native.unpack(native.pack(values, scales, bits), n, k, bits)
    np.testing.assert_array_equal(found[0], values)
    np.testing.assert_array_equal(found[1], scales)


@pytest.mark.parametrize("bits", [4, 8])
def test_slabs_of_whole_groups_are_the_whole(bits: int) -> None:
    values, scales = some(50, 90, bits)
    slabs = [native.pack(values[a:b], scales[a:b], bits) for a, b in [(0, 16), (16, 48), (48, 50)]]
    np.testing.assert_array_equal(np.concatenate(slabs), native.pack(values, scales, bits))


# ---------------------------------------------------------------- records that are none


@pytest.mark.parametrize("shape", [(2, 2, 575), (1, 2, 576), (2, 1, 576), (2, 2, 1088), (3, 2, 576), (2, 3, 576)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="records of shape"):
        native.unpack(np.zeros(shape, dtype=np.uint8), 20, 72, 4)


@pytest.mark.parametrize("scale", [np.nan, np.inf, -np.inf])
def test_a_scale_that_is_no_number_is_refused(scale: float) -> None:
    records = packed(20, 72, 4)
    records[0, 1, 4:6] = np.array([scale], dtype="<f2").view(np.uint8)
    with pytest.raises(ValueError, match="NaN or infinite"):
        native.unpack(records, 20, 72, 4)


@pytest.mark.parametrize("high", [0x3C, 0x80])  # 1 and -0
@pytest.mark.parametrize(("group", "record", "byte"), [(1, 0, 2 * 4), (1, 1, 2 * 15), (0, 1, 2 * 16)])
def test_a_scale_in_the_padding_is_refused(group: int, record: int, byte: int, high: int) -> None:
    records = packed(20, 72, 4)
    records[group, record, byte + 1] = high
    with pytest.raises(ValueError, match="scale of the padding"):
        native.unpack(records, 20, 72, 4)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("group", "record", "byte"), [(1, 0, 64 + 4 * 4), (0, 1, 64 + 2 * 64), (0, 1, -1)])
def test_a_value_in_the_padding_is_refused(bits: int, group: int, record: int, byte: int) -> None:
    records = packed(20, 72, bits)
    records[group, record, byte] ^= 1
    with pytest.raises(ValueError, match="value of the padding"):
        native.unpack(records, 20, 72, bits)
