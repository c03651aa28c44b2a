from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.kernels.linear_cases import Case, cases, run
from tests.kernels.models import available, constant, external, linear_model, needs_library, session, sizes, value
from tests.kernels.plain import Floats, gate, linear, rounding_bound, some_matrix

pytestmark = needs_library
INTEGER = [isa for isa in available() if isa != "amx"]


def assert_near(found: Floats, expected: Floats) -> None:
    """Equal but for the last bits of float32 sums."""
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * max(1e-30, float(np.abs(expected).max())))


def computed(isa: str, directory: Path) -> list[Floats]:
    file = directory / f"{isa}.npz"
    command = [sys.executable, "-m", "tests.kernels.linear_cases", str(file)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "FIREBRICK_ISA": isa}, check=True)
    with np.load(file) as arrays:
        return [arrays[name] for name in arrays.files]


@pytest.fixture(scope="module")
def portable(tmp_path_factory: pytest.TempPathFactory) -> list[Floats]:
    """What the plainest kernels compute."""
    return computed("portable", tmp_path_factory.mktemp("portable"))


# ---------------------------------------------------------------- what it computes


def test_the_plain_kernels_compute_what_numpy_does(portable: list[Floats]) -> None:
    for case, found in zip(cases(), portable, strict=True):
        if not case.gated:
            assert_near(found, linear(case.x, case.matrix, case.bias))


def test_gated_inputs_are_multiplied_as_they_come_out_of_the_gate(portable: list[Floats]) -> None:
    for case, found in zip(cases(), portable, strict=True):
        if case.gated:
            x = gate(case.x, case.gated)
            exact = x @ case.matrix.weights.T + (0 if case.bias is None else case.bias)
            assert (np.abs(found - exact) <= rounding_bound(x, case.matrix) + np.abs(exact) * 1e-5).all()


@pytest.mark.parametrize("isa", [isa for isa in INTEGER if isa != "portable"])
def test_integer_kernels_agree_bit_for_bit(isa: str, portable: list[Floats], tmp_path: Path) -> None:
    for case, found, expected in zip(cases(), computed(isa, tmp_path), portable, strict=True):
        np.testing.assert_array_equal(found, expected, err_msg=f"{case.matrix.levels.shape}, {len(case.x)} rows")


@pytest.mark.skipif("amx" not in available(), reason="this processor has no AMX")
def test_amx_agrees_within_bf16(portable: list[Floats], tmp_path: Path) -> None:
    for found, expected in zip(computed("amx", tmp_path), portable, strict=True):
        assert np.abs(found - expected).max() <= 0.02 * np.abs(expected).max()


@settings(max_examples=80)
@given(
    n=st.integers(1, 70),
    k=st.integers(1, 260),
    rows=st.integers(1, 40),
    bits=st.sampled_from([4, 8]),
    bias=st.booleans(),
    threads=st.integers(1, 3),
    magnitude=st.floats(-20, 20),
)
def test_any_size_is_that_of_numpy(
    n: int, k: int, rows: int, bits: int, bias: bool, threads: int, magnitude: float
) -> None:
    rng = np.random.default_rng(n * k)
    x = (rng.standard_normal((rows, k)) * 10**magnitude).astype(np.float32)
    biases = rng.standard_normal(n).astype(np.float32) if bias else None
    case = Case(some_matrix(n, k, bits, rows), x, biases, False, threads)
    assert_near(run(case), linear(x, case.matrix, biases))


@settings(max_examples=30)
@given(rows=st.integers(1, 140), bits=st.sampled_from([4, 8]), gated=st.integers(0, 2), cut=st.integers(0, 140))
def test_neither_threads_nor_the_other_rows_change_a_row(rows: int, bits: int, gated: int, cut: int) -> None:
    x = np.random.default_rng(rows).standard_normal((rows, 200 if gated else 100)).astype(np.float32)
    matrix = some_matrix(90, 100, bits, 1)
    whole = run(Case(matrix, x, None, gated, 1))
    np.testing.assert_array_equal(run(Case(matrix, x, None, gated, 3)), whole)
    if 0 < cut < rows and "amx" not in available():  # which takes other instructions for many rows
        pieces = [run(Case(matrix, part, None, gated, 2)) for part in (x[:cut], x[cut:])]
        np.testing.assert_array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize("bits", [4, 8])
def test_many_outputs_of_many_rows_are_those_of_numpy(bits: int) -> None:
    """With AMX a task then has several pairs of groups, the last one fewer."""
    x = np.random.default_rng(1).standard_normal((50, 300)).astype(np.float32)
    case = Case(some_matrix(1_850, 300, bits, 2), x, None, False, 3)
    expected = linear(x, case.matrix, None)
    assert np.abs(run(case) - expected).max() <= 0.02 * np.abs(expected).max()  # as near as bf16 is to int8


def test_blocks_of_zeros_give_zero() -> None:
    matrix = some_matrix(20, 96, 4, 0)
    np.testing.assert_array_equal(run(Case(matrix, np.zeros((3, 96), dtype=np.float32), None, False, 1)), 0)


def test_leading_dimensions_are_kept() -> None:
    matrix = some_matrix(20, 64, 4, 0)
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 64)).astype(np.float32)
    found = session(linear_model(constant("w", matrix.records()), sizes(matrix, False), dimensions=4))
    result = found.run(None, {"x": x})[0]
    assert result.shape == (2, 3, 5, 20)
    np.testing.assert_array_equal(result.reshape(30, 20), run(Case(matrix, x.reshape(30, 64), None, False, 1)))


def test_no_rows_give_no_rows() -> None:
    matrix = some_matrix(20, 64, 4, 0)
    assert run(Case(matrix, np.zeros((0, 64), dtype=np.float32), None, False, 1)).shape == (0, 20)


# ---------------------------------------------------------------- what is refused


def refused(model: bytes) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011  onnxruntime's classes share no better base
        session(model)
    return str(caught.value)


@pytest.mark.parametrize("shape", [(1, 2, 576), (2, 1, 576), (2, 2, 575), (2, 2, 1088), (3, 2, 576), (2, 3, 576)])
def test_records_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    weight = constant("w", np.zeros(shape, dtype=np.uint8))
    assert "have shape" in refused(linear_model(weight, {"n": 20, "k": 72, "bits": 4, "gated": 0}))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"bits": 6}, "attribute bits is 6"),
        ({"bits": 8}, "have shape"),
        ({"n": 0}, "attribute n is 0"),
        ({"n": 33}, "have shape"),
        ({"k": -1}, "attribute k is -1"),
        ({"gated": 3}, "attribute gated is 3"),
    ],
)
def test_attributes_that_cannot_be_are_refused(wrong: dict[str, int], words: str) -> None:
    matrix = some_matrix(20, 72, 4, 0)
    attributes = {**sizes(matrix, False), **wrong}
    assert words in refused(linear_model(constant("w", matrix.records()), attributes))


@pytest.mark.parametrize("missing", ["n", "k", "bits"])
def test_a_missing_attribute_is_refused(missing: str) -> None:
    matrix = some_matrix(20, 72, 4, 0)
    attributes = {name: size for name, size in sizes(matrix, False).items() if name != missing}
    assert missing in refused(linear_model(constant("w", matrix.records()), attributes))


def test_weights_of_another_type_are_refused() -> None:
    matrix = some_matrix(20, 72, 4, 0)
    weight = constant("w", matrix.records().view(np.int8))
    assert "node" in refused(linear_model(weight, sizes(matrix, False)))


def test_weights_that_are_no_initializer_are_refused() -> None:
    weight = value("w", ir.DataType.UINT8, 3)
    assert "must be an initializer" in refused(linear_model(weight, {"n": 20, "k": 72, "bits": 4, "gated": 0}))


def stored(directory: Path, offset: int, length: int | None = None) -> Path:
    """A model whose weights lie at an offset of a file that may be cut."""
    matrix = some_matrix(20, 72, 4, 0)
    records = matrix.records()
    content = bytes(offset) + records.tobytes()
    (directory / "weights").write_bytes(content[:length])
    weight = external("w", "weights", offset, records.shape)
    (directory / "model.onnx").write_bytes(linear_model(weight, sizes(matrix, False)))
    return directory / "model.onnx"


def test_weights_in_a_file_are_used_as_they_lie(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((5, 72)).astype(np.float32)
    found = session(stored(tmp_path, 4096 + 64)).run(None, {"x": x})[0]
    assert_near(found, linear(x, some_matrix(20, 72, 4, 0)))


@pytest.mark.parametrize("offset", [1, 32, 4097])
def test_misaligned_weights_are_refused(offset: int, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="aren't aligned to 64 bytes"):
        session(stored(tmp_path, offset))


@pytest.mark.parametrize("length", [0, 4096, 4096 + 64 + 100])
def test_truncated_weights_are_refused(length: int, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"weights|[Ee]xternal"):
        session(stored(tmp_path, 4096 + 64, length))


def test_inputs_of_another_width_are_refused_when_they_come() -> None:
    matrix = some_matrix(20, 72, 4, 0)
    with pytest.raises(Exception, match="the input has 71 columns, the weights take 72"):
        run(Case(matrix, np.zeros((2, 71), dtype=np.float32), None, False, 1))


def test_a_bias_of_another_length_is_refused() -> None:
    matrix = some_matrix(20, 72, 4, 0)
    with pytest.raises(Exception, match="the bias doesn't have 20 values"):
        run(Case(matrix, np.zeros((2, 72), dtype=np.float32), np.zeros(19, dtype=np.float32), False, 1))


# ---------------------------------------------------------------- sessions


def test_concurrent_runs_of_a_session_do_not_see_each_other() -> None:
    matrix = some_matrix(300, 256, 4, 0)
    shared = session(linear_model(constant("w", matrix.records()), sizes(matrix, False)), threads=2)
    inputs = [
        np.random.default_rng(seed).standard_normal((1 + seed % 30, 256)).astype(np.float32) for seed in range(200)
    ]
    expected = [shared.run(None, {"x": x})[0] for x in inputs]
    with ThreadPoolExecutor(6) as pool:
        for found, wanted in zip(pool.map(lambda x: shared.run(None, {"x": x})[0], inputs), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_thousand_sessions_leave_no_memory_behind() -> None:
    matrix = some_matrix(256, 256, 4, 0)
    model = linear_model(constant("w", matrix.records()), sizes(matrix, False))
    x: dict[str, Any] = {"x": np.ones((4, 256), dtype=np.float32)}
    for _ in range(100):
        session(model).run(None, x)
    before = resident()
    for _ in range(1000):
        session(model).run(None, x)
    assert resident() - before < 8_000_000
