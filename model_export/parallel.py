"""Matrix work on several threads whose result doesn't depend on how many there are.

BLAS divides a product by its own number of threads, and sums may then come in another order. Here BLAS keeps to one
thread, and work is cut into portions of a fixed size, each computed by one thread whichever it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import combinations_with_replacement, product
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

ROWS = 512  # of a weight or of its inputs, worked on by one thread
COLUMNS = 1024  # of second moments
TOKENS = 2048  # inputs whose products are summed in float32

T = TypeVar("T")
S = TypeVar("S")


class Workers:
    """A pool of threads; see `workers`.

    Attributes:
        pool: for work of other kinds.
        count: threads in it.
    """

    def __init__(self, pool: ThreadPoolExecutor, count: int) -> None:
        self.pool, self.count = pool, count

    def map(self, function: Callable[[S], T], items: Iterable[S]) -> list[T]:
        """Apply a function to every item; the results are in the items' order."""
        return list(self.pool.map(function, items))

    def moments(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
        """XᵀY of `(tokens, K)` and `(tokens, N)`, perhaps the same: float64 `(K, N)`, summed from float32 parts."""
        symmetric = first is second
        result = np.zeros((first.shape[1], second.shape[1]), dtype=np.float64)

        def portion(pair: tuple[slice, slice]) -> None:
            left, right = pair
            for part in slices(len(first), TOKENS):
                result[left, right] += first[part, left].T @ second[part, right]
            if symmetric and left != right:
                result[right, left] = result[left, right].T

        rows, columns = (slices(x.shape[1], COLUMNS) for x in (first, second))
        self.map(portion, combinations_with_replacement(rows, 2) if symmetric else product(rows, columns))
        return result


@contextmanager
def workers(threads: int) -> Iterator[Workers]:
    """Start threads, and hold BLAS to one while they live.

    Args:
        threads: at least 1.
    """
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        yield Workers(pool, threads)


def slices(length: int, step: int) -> list[slice]:
    """Cut `range(length)` into portions of `step`, the last one perhaps shorter."""
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]
