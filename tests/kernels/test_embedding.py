from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.kernels.models import available, constant, embedding_model, needs_library, session, sizes
from tests.kernels.plain import Matrix, some_matrix

pytestmark = needs_library


def looked_up(matrix: Matrix, ids: object) -> object:
    array = np.asarray(ids, dtype=np.int64)
    model = embedding_model(constant("w", matrix.records()), sizes(matrix), array.ndim)
    return session(model).run(None, {"ids": array})[0]


@settings(max_examples=60)
@given(
    n=st.integers(1, 50),
    k=st.integers(1, 200),
    bits=st.sampled_from([4, 8]),
    shape=st.lists(st.integers(0, 4), min_size=1, max_size=3),
)
def test_rows_are_the_dequantized_weights(n: int, k: int, bits: int, shape: list[int]) -> None:
    matrix = some_matrix(n, k, bits, n)
    ids = np.random.default_rng(k).integers(0, n, shape)
    np.testing.assert_array_equal(looked_up(matrix, ids), matrix.weights[ids])


@pytest.mark.parametrize("wrong", [-1, 20, 31, 2**40, -(2**63)])
def test_an_id_beyond_the_vocabulary_is_refused(wrong: int) -> None:
    with pytest.raises(Exception, match=f"id {wrong} isn't in the vocabulary of 20"):
        looked_up(some_matrix(20, 64, 8, 0), [3, wrong])


def test_records_of_another_shape_are_refused() -> None:
    weight = constant("w", np.zeros((2, 1, 576), dtype=np.uint8))
    with pytest.raises(Exception, match="have shape"):
        session(embedding_model(weight, {"n": 20, "k": 64, "bits": 8}))


@pytest.mark.parametrize("isa", available())
def test_every_instruction_set_gives_the_same(isa: str) -> None:
    code = (
        "import numpy as np\n"
        "from tests.kernels.test_embedding import looked_up\n"
        "from tests.kernels.plain import some_matrix\n"
        "for bits in (4, 8):\n"
        "    matrix = some_matrix(37, 100, bits, 5)\n"
        "    np.testing.assert_array_equal(looked_up(matrix, range(37)), matrix.weights)\n"
    )
    environ = {**os.environ, "FIREBRICK_ISA": isa}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environ, check=True)
