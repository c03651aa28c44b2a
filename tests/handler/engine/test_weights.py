from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from handler.engine.weights import Weights
from handler.errors import ArtefactDamaged


def write(path: Path, header: Any, data: bytes = bytes(16)) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(dtype: Any = "F32", shape: Any = (2, 2), offsets: Any = (0, 16)) -> dict[str, Any]:
    return {"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


def test_arrays_are_what_the_official_package_reads(demo_artefact: Path) -> None:
    path = demo_artefact / "model.safetensors"
    weights, expected = Weights(path), load_file(path)
    found = weights.arrays()
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_golden_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "w", {"__metadata__": {"a": "b"}, **entry()}, np.arange(4, dtype="<f4").tobytes())
    np.testing.assert_array_equal(Weights(path).arrays()["w"], np.array([[0, 1], [2, 3]], dtype=np.float32))


def test_nobody_writes_into_the_mapping(tmp_path: Path) -> None:
    weights = Weights(write(tmp_path / "w", entry()))
    with pytest.raises(ValueError, match="read-only"):
        weights.arrays()["w"][0, 0] = 1


def test_the_file_is_unmapped_when_nobody_needs_it(tmp_path: Path) -> None:
    weights = Weights(write(tmp_path / "mapped-for-a-moment", entry()))
    assert "mapped-for-a-moment" in Path("/proc/self/maps").read_text()
    del weights
    gc.collect()
    assert "mapped-for-a-moment" not in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize(
    "header",
    [
        b"no JSON",
        b"[" * 100_000,
        [],
        {"w": 1},
        {"w": {}},
        entry(dtype="F64"),
        entry(dtype=["F32"]),
        entry(shape=(2, 3)),
        entry(shape=(-2, -2)),
        entry(shape=("2", 2)),
        entry(shape=4),
        entry(offsets=(0, 12)),
        entry(offsets=(4, 20)),
        entry(offsets=(-4, 12)),
        entry(offsets=(16, 0)),
        entry(offsets=(0, 16, 32)),
        entry(offsets=("0", "16")),
        entry(offsets=(0.0, 16.0)),
    ],
    ids=lambda header: str(header)[:60],
)
def test_a_malformed_header_is_refused(header: Any, tmp_path: Path) -> None:
    with pytest.raises(ArtefactDamaged, match=r"can't be mapped \(.+\); export the model again"):
        Weights(write(tmp_path / "w", header))


@pytest.mark.parametrize("content", [b"", bytes(7), (2**63).to_bytes(8, "little") + b"{}"])
def test_a_file_that_ends_too_soon_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(ArtefactDamaged):
        Weights(tmp_path / "w")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactDamaged):
        Weights(tmp_path / "none")
