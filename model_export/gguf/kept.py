"""Blocks of ggml's types that ours can hold as they are: a scale in f16, and whole multiples of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 32  # weights that share a scale, in all of these and in ours
# ggml's table of IQ4_NL: what the sixteen values stand for.
IQ4_NL = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], dtype=np.int8)


@dataclass(frozen=True)
class Exact:
    """A type whose weights are whole multiples of an f16 scale.

    Attributes:
        bits: the fewest of ours that hold the multiples.
        multiples: gives them, int8 `(blocks, 32)`, of what lies behind the scales, uint8 `(blocks, bytes)`.
    """

    bits: int
    multiples: Callable[[NDArray[np.uint8]], NDArray[np.int8]]


def _nibbles(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The first half of a block lies in the low nibbles, the second in the high ones."""
    return np.concatenate([packed & np.uint8(15), packed >> np.uint8(4)], axis=1)


def _q4_0(body: NDArray[np.uint8]) -> NDArray[np.int8]:
    return _nibbles(body).astype(np.int8) - np.int8(8)


def _q5_0(body: NDArray[np.uint8]) -> NDArray[np.int8]:
    fifth = np.unpackbits(body[:, :4], axis=1, bitorder="little")
    return (_nibbles(body[:, 4:]) | fifth << np.uint8(4)).astype(np.int8) - np.int8(16)


def _q8_0(body: NDArray[np.uint8]) -> NDArray[np.int8]:
    return body.view(np.int8)


def _iq4_nl(body: NDArray[np.uint8]) -> NDArray[np.int8]:
    return IQ4_NL[_nibbles(body)]


EXACT: Mapping[str, Exact] = {
    "Q4_0": Exact(4, _q4_0),
    "Q5_0": Exact(8, _q5_0),
    "Q8_0": Exact(8, _q8_0),
    "IQ4_NL": Exact(8, _iq4_nl),
}


def codes(blocks: NDArray[np.uint8], kind: str, bits: int) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Say stored rows in our values.

    Args:
        blocks: uint8 `(rows, bytes)`.
        kind: a type in `EXACT`.
        bits: 4 or 8, not less than the type's.

    Returns:
        values with the zero point added, not yet packed, uint8 `(rows, blocks, 32)`; scales, float16 `(rows, blocks)`.
    """
    rows = len(blocks)
    width = {"Q4_0": 18, "Q5_0": 22, "Q8_0": 34, "IQ4_NL": 18}[kind]
    one = np.ascontiguousarray(blocks).reshape(-1, width)
    scales = np.ascontiguousarray(one[:, :2]).view("<f2").astype(np.float16).reshape(rows, -1)
    multiples = EXACT[kind].multiples(np.ascontiguousarray(one[:, 2:]))
    values = (multiples.astype(np.int16) + 2 ** (bits - 1)).astype(np.uint8)
    return values.reshape(rows, -1, BLOCK), scales
