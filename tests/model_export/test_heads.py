from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_export.heads import HeadLayout


@pytest.mark.parametrize(
    ("head_dim", "stored"), [(2, 16), (12, 16), (16, 16), (18, 32), (20, 32), (24, 32), (128, 128)]
)
def test_heads_are_stored_in_multiples_of_16(head_dim: int, stored: int) -> None:
    assert HeadLayout(head_dim).stored == stored
    assert HeadLayout(head_dim).padded == (head_dim != stored)


def test_nothing_is_moved_where_nothing_is_padded() -> None:
    assert HeadLayout(64).index(8) is None


def test_the_index_of_two_small_heads() -> None:
    index = HeadLayout(6).index(2)
    assert index is not None
    pad = [-1] * 5
    assert index.tolist() == [0, 1, 2, *pad, 3, 4, 5, *pad, 6, 7, 8, *pad, 9, 10, 11, *pad]


@given(st.integers(1, 80).map(lambda n: 2 * n), st.integers(1, 9))
def test_every_element_has_one_place_and_rotary_pairs_stay_pairs(head_dim: int, heads: int) -> None:
    layout = HeadLayout(head_dim)
    index = layout.index(heads)
    if index is None:
        return
    assert sorted(index[index >= 0].tolist()) == list(range(heads * head_dim))
    first, second = np.split(index.reshape(heads, layout.stored), 2, axis=1)
    assert (second[first >= 0] - first[first >= 0] == head_dim // 2).all()
    assert (second[first < 0] == -1).all()


def test_the_norm_of_a_padded_head_is_that_of_the_head() -> None:
    layout = HeadLayout(12)
    head = np.random.default_rng(0).standard_normal(12)
    padded = np.concatenate([head, np.zeros(4)])
    normed = head / np.sqrt((head**2).mean() + 1e-3)
    factor = layout.norm_factor
    found = padded[:12] / np.sqrt((padded**2).mean() + 1e-3 * factor) * factor**0.5
    np.testing.assert_allclose(found, normed)
