"""`python -m tests.kernels.linear_cases FILE`: what this process' instructions compute, for a list of cases.

FIREBRICK_ISA is read once a process, so every instruction set needs one of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tests.kernels.models import constant, linear_model, session, sizes
from tests.kernels.plain import Floats, Matrix, some_matrix


@dataclass(frozen=True)
class Case:
    """One run of Linear."""

    matrix: Matrix
    x: Floats
    bias: Floats | None
    gated: int
    threads: int


def cases() -> Iterator[Case]:
    """Shapes at and around every border: 16 rows of weights, 32 and 64 columns, panels of inputs, tasks."""
    shapes = [(1, 1), (15, 31), (16, 32), (17, 33), (40, 63), (64, 64), (33, 65), (20, 200), (300, 130), (7, 1024)]
    for index, (n, k) in enumerate(shapes):
        for rows in (1, 2, 3, 7, 13, 47, 48, 64, 130):
            rng = np.random.default_rng(1000 * index + rows)
            gated, threads = int(rng.integers(3)), int(rng.integers(1, 4))
            x = (rng.standard_normal((rows, 2 * k if gated else k)) * 10 ** rng.uniform(-3, 2)).astype(np.float32)
            x[rng.random(x.shape) < 0.02] *= 30
            bias = rng.standard_normal(n).astype(np.float32) if rng.integers(2) else None
            yield Case(some_matrix(n, k, int(rng.choice([4, 8])), index), x, bias, gated, threads)


def run(case: Case, threads: int | None = None) -> Floats:
    """Compute a case with the native operator."""
    weight = constant("w", case.matrix.records())
    model = linear_model(weight, sizes(case.matrix, case.gated), case.bias)
    found: Floats = session(model, threads or case.threads).run(None, {"x": case.x})[0]
    return found


if __name__ == "__main__":
    np.savez(sys.argv[1], *[run(case) for case in cases()])
