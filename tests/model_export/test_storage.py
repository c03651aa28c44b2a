from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model_export import native
from model_export.quantize import pack, quantize, scale_units, snap, unpack
from model_export.storage import storage_of

Quantized = tuple[NDArray[np.uint8], NDArray[np.float16]]


def some(n: int, k: int, bits: int, lean: bool, seed: int = 0) -> Quantized:
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((n, k)).astype(np.float32) * rng.random((n, 1), dtype=np.float32)
    return quantize(weight, bits, 32, rounding="search", lean=lean)


def value_at(groups: NDArray[np.uint8], row: int, column: int) -> tuple[int, float]:
    """A value and its scale, found byte by byte as the specification says."""
    group, record, block = groups[row // 16], column // 128, column % 128 // 32
    unit = group[:64].view("<f4")[row % 16]
    at = 64 + record * 1088
    scale = group[at : at + 64].view(np.int8)[block * 16 + row % 16]
    byte = int(group[at + 64 + 256 * block + 64 * (column % 32 // 8) + 4 * (row % 16) + column % 4])
    return byte & 15 if column % 8 < 4 else byte >> 4, float(scale * unit)


@pytest.mark.parametrize("k", [100, 128, 150, 192])
def test_every_value_of_a_lean_weight_lies_where_the_specification_says(k: int) -> None:
    values, scales = some(37, k, 4, lean=True)
    groups = native.pack_lean(values, scales)
    codes = unpack(values, 4).reshape(37, -1)
    assert groups.shape == (3, 64 + {100: 1088, 128: 1088, 150: 1664, 192: 1664}[k])
    for row in range(37):
        for column in range(k):
            assert value_at(groups, row, column) == (codes[row, column], float(scales[row, column // 32]))


def test_planes_are_the_nibbles_of_a_value() -> None:
    values, scales = some(20, 70, 8, lean=False)
    high, low, spreads = native.split(values, scales)
    np.testing.assert_array_equal(unpack(high, 4), values >> 4)
    assert low.shape == (2, 2, 512)
    assert spreads.shape == (20,)
    for row, column in [(0, 0), (17, 5), (19, 69), (3, 33)]:
        block, within = column % 64 // 32, column % 32
        byte = low[row // 16, column // 64, 256 * block + 64 * (within // 8) + 4 * (row % 16) + within % 4]
        found = byte & 15 if within % 8 < 4 else byte >> 4
        assert found == values[row, column // 32, within] & 15


def test_a_spread_is_what_the_worst_block_of_a_row_leaves_out() -> None:
    values, scales = some(3, 96, 8, lean=False)
    left_out = scales[:, :, None].astype(np.float64) * ((values & 15) - 7.5)
    expected = np.sqrt((left_out**2).mean(axis=2)).max(axis=1)
    np.testing.assert_allclose(native.split(values, scales)[2], expected, rtol=1e-6)


# Of a counting pattern, put together from the specification; it may never change.
GOLDEN = {
    (4, 8): "1a8e5ede56994d828fee4d1c06730e6f66a8343923e18d433418d68a7836e867",
    (8, 8): "9bf0afd5a82450a7b8ec7308c2895453bbe374d14a95c45e3cad779733adeee8",
    (8, 16): "f29e135cd20ce9638087fa29f6ca132394aba0af79332d259beb301a6c8d8dbd",
}


@pytest.mark.parametrize(("bits", "scale_bits"), GOLDEN)
def test_golden_bytes(bits: int, scale_bits: int) -> None:
    n, k = 20, 72
    codes = (np.arange(n)[:, None] * 7 + np.arange(96)[None, :] * 3) % 2**bits
    codes[:, k:] = 2 ** (bits - 1)
    values = pack(codes.astype(np.uint8).reshape(n, 3, 32), bits)
    scales = ((np.arange(n)[:, None] - np.arange(3)[None, :]) / 8).astype(np.float16)
    arrays = storage_of("native", scale_bits, head=True).encode(values, scales, bits)
    content = b"".join(array.tobytes() for array in arrays)
    assert hashlib.sha256(content).hexdigest() == GOLDEN[bits, scale_bits]


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 50),
    k=st.integers(1, 300),
    bits=st.sampled_from([4, 8]),
    scale_bits=st.sampled_from([8, 16]),
    head=st.booleans(),
    seed=st.integers(0, 99),
)
def test_there_and_back(n: int, k: int, bits: int, scale_bits: int, head: bool, seed: int) -> None:
    storage = storage_of("native", scale_bits, head)
    values, scales = some(n, k, bits, storage.lean(bits), seed)
    arrays = storage.encode(values, scales, bits)
    specs = storage.tensors("w", (n, k), bits, 32)
    assert [array.shape for array in arrays] == [spec.shape for spec in specs]
    found = storage.decode(arrays, (n, k), bits)
    np.testing.assert_array_equal(found[0], values)
    np.testing.assert_array_equal(found[1].view(np.uint16), scales.view(np.uint16))
    for again, array in zip(storage.encode(*found, bits), arrays, strict=True):
        np.testing.assert_array_equal(again, array)


def test_scales_of_any_size_can_be_stored_once_they_are_snapped() -> None:
    largest = np.arange(1, 0x7BFF, 7, dtype=np.uint16).view(np.float16)  # of a row: subnormal ones, too
    scales = (np.random.default_rng(0).uniform(-1, 1, (len(largest), 8)) * largest[:, None]).astype(np.float16)
    scales[:, 0] = largest
    snapped = snap(scales, scale_units(largest)[:, None])
    values = np.full((len(largest), 8, 16), 0x88, dtype=np.uint8)
    packed = native.pack_lean(values, snapped)
    np.testing.assert_array_equal(native.unpack_lean(packed, len(largest), 8 * 32)[1], snapped)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-60000, 60000, width=16), min_size=1, max_size=40))
def test_snapped_scales_are_near_and_can_be_stored(given_scales: list[float]) -> None:
    scales = np.array([given_scales], dtype=np.float16)
    units = scale_units(np.abs(scales).max(axis=1))[:, None]
    snapped = snap(scales, units)
    error = np.abs(snapped.astype(np.float64) - scales.astype(np.float64))
    assert (error <= 1.0001 * units).all()
    assert (error[np.abs(scales) >= units] <= 0.5001 * units).all()
    assert ((snapped == 0) == (scales == 0)).all()
    values = np.zeros((1, len(given_scales), 16), dtype=np.uint8)
    native.pack_lean(values, snapped)


def test_the_largest_f16_stays_finite_as_a_multiple() -> None:
    scales = np.array([[np.finfo(np.float16).max, 1]], dtype=np.float16)
    assert np.isfinite(snap(scales, scale_units(np.abs(scales).max(axis=1))[:, None])).all()


def test_scales_that_8_bits_cannot_hold_are_refused() -> None:
    values, scales = some(2, 320, 4, lean=False)
    with pytest.raises(ValueError, match="multiples of one number"):
        native.pack_lean(values, scales)


# ---------------------------------------------------------------- groups that are none


def lean() -> NDArray[np.uint8]:
    return native.pack_lean(*some(20, 150, 4, lean=True))


def refused(groups: NDArray[np.uint8]) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the callers look at the message
        native.unpack_lean(groups, 20, 150)
    return str(caught.value)


def test_another_shape_is_refused() -> None:
    assert "groups of shape" in refused(lean()[:, :-64])


@pytest.mark.parametrize("unit", [np.nan, np.inf])
def test_a_unit_that_is_no_number_is_refused(unit: float) -> None:
    groups = lean()
    groups[0, 4:8] = np.array([unit], dtype="<f4").view(np.uint8)
    assert "NaN or infinite" in refused(groups)


def test_a_unit_that_is_not_the_divisor_is_refused() -> None:
    groups = lean()
    groups[0, :64].view("<f4")[3] *= 1.001
    assert "greatest common divisor" in refused(groups)


@pytest.mark.parametrize(("group", "byte"), [(1, 4 * 4), (1, 64 + 4), (0, 64 + 1088 + 16 + 3)])
def test_a_scale_in_the_padding_is_refused(group: int, byte: int) -> None:
    groups = lean()
    groups[group, byte] = 1
    assert "padding" in refused(groups)


@pytest.mark.parametrize(("group", "byte"), [(1, 128 + 4 * 4), (0, -1)])
def test_a_value_in_the_padding_is_refused(group: int, byte: int) -> None:
    groups = lean()
    groups[group, byte] ^= 1
    assert "value of the padding" in refused(groups)


@pytest.mark.parametrize("part", [1, 2])
def test_planes_with_another_spread_or_padding_are_refused(part: int) -> None:
    storage = storage_of("native", 16, head=True)
    arrays = list(storage.encode(*some(20, 70, 8, lean=False), 8))
    arrays[part] = arrays[part].copy()
    arrays[part].reshape(-1)[-1] += 1
    with pytest.raises(ValueError, match="spread" if part == 2 else "value of the padding"):
        storage.decode(arrays, (20, 70), 8)
