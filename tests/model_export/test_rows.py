from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model_export.checkpoint import Checkpoint
from model_export.config import load_config
from model_export.rows import CheckpointRows, ComputedRows, Rows, ScaledRows, StackedRows

Q = "model.layers.0.self_attn.q_proj.weight"
K = "model.layers.0.self_attn.k_proj.weight"
NORM = "model.norm.weight"


@pytest.fixture(scope="session")
def weights(checkpoints: Path) -> Checkpoint:
    directory = checkpoints / "llama-gqa2-bf16"
    return Checkpoint.open(directory, load_config(directory))


def whole(rows: Rows) -> NDArray[np.float32]:
    return rows.read(0, rows.shape[0])


def shuffled(length: int, count: int) -> NDArray[np.int64]:
    """An index with padding in it."""
    return np.random.default_rng(0).integers(-1, length, count, dtype=np.int64)


@pytest.fixture(scope="session", params=["plain", "rows", "columns", "stacked", "computed", "vectors", "scaled"])
def rows(request: pytest.FixtureRequest, weights: Checkpoint) -> Rows:
    kinds: dict[str, Rows] = {
        "plain": CheckpointRows(weights, Q),
        "scaled": ScaledRows(CheckpointRows(weights, NORM), np.arange(64, dtype=np.float32)),
        "rows": CheckpointRows(weights, Q, shuffled(64, 90)),
        "columns": CheckpointRows(weights, Q, None, shuffled(64, 70), factor=0.5),
        "stacked": StackedRows([CheckpointRows(weights, Q), CheckpointRows(weights, K, shuffled(32, 50))]),
        "computed": ComputedRows(np.arange(60, dtype=np.float32).reshape(20, 3)),
        "vectors": StackedRows([CheckpointRows(weights, NORM), CheckpointRows(weights, NORM, shuffled(64, 80))]),
    }
    return kinds[str(request.param)]


@given(data=st.data())
def test_slices_put_together_are_the_whole(data: st.DataObject, rows: Rows) -> None:
    cuts = data.draw(st.sets(st.integers(1, rows.shape[0] - 1), max_size=5))
    ends = [0, *sorted(cuts), rows.shape[0]]
    pieces = [rows.read(start, stop) for start, stop in itertools.pairwise(ends)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole(rows))


def test_the_shape_is_that_of_the_whole(rows: Rows) -> None:
    assert whole(rows).shape == rows.shape
    assert whole(rows).dtype == np.float32


def test_indexed_rows_come_from_their_places_and_padding_is_zero(weights: Checkpoint) -> None:
    index = np.array([3, -1, 0, 63, -1], dtype=np.int64)
    found = whole(CheckpointRows(weights, Q, index))
    original = weights.read(Q)
    np.testing.assert_array_equal(found[[0, 2, 3]], original[[3, 0, 63]])
    assert (found[[1, 4]] == 0).all()


def test_rows_of_nothing_but_padding(weights: Checkpoint) -> None:
    assert (whole(CheckpointRows(weights, Q, np.full(3, -1, dtype=np.int64))) == 0).all()


def test_indexed_columns(weights: Checkpoint) -> None:
    found = whole(CheckpointRows(weights, Q, None, np.array([5, -1], dtype=np.int64)))
    np.testing.assert_array_equal(found[:, 0], weights.read(Q)[:, 5])
    assert (found[:, 1] == 0).all()


def test_a_stack_lies_in_the_order_of_its_parts(weights: Checkpoint) -> None:
    found = whole(StackedRows([CheckpointRows(weights, Q), CheckpointRows(weights, K)]))
    np.testing.assert_array_equal(found, np.concatenate([weights.read(Q), weights.read(K)]))


def test_source_bytes_are_the_checkpoint_s(weights: Checkpoint) -> None:
    assert StackedRows([CheckpointRows(weights, Q), CheckpointRows(weights, K)]).source_bytes == (64 + 32) * 64 * 2
    assert ComputedRows(np.zeros((2, 3), dtype=np.float32)).source_bytes == 24
