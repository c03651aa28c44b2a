from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from model_export import parallel
from model_export.parallel import slices, workers


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_blas_keeps_to_one_thread_while_the_pool_lives() -> None:
    before = blas_threads()
    with workers(2):
        assert blas_threads() == {1}
    assert blas_threads() == before


def test_results_come_in_order() -> None:
    with workers(3) as pool:
        assert pool.map(lambda x: x * 2, range(9)) == list(range(0, 18, 2))


def test_second_moments_are_those_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "COLUMNS", 16)
    monkeypatch.setattr(parallel, "TOKENS", 7)
    inputs = np.random.default_rng(0).standard_normal((50, 40), dtype=np.float32)
    with workers(2) as pool:
        found, other = pool.moments(inputs, inputs), pool.moments(inputs, inputs[:, ::-3])
    np.testing.assert_allclose(found, inputs.T.astype(np.float64) @ inputs, atol=1e-4)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(other, found[:, ::-3], atol=1e-4)


@pytest.mark.parametrize("length", [0, 1, 5, 6])
def test_slices_cover_everything_once(length: int) -> None:
    assert [i for part in slices(length, 3) for i in range(length)[part]] == list(range(length))
