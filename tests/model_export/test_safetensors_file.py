from __future__ import annotations

import hashlib
import json
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from model_export.safetensors_file import ITEM_SIZES, Layout, TensorSpec, lay_out, write

SPECS = [TensorSpec("a", "F16", (2, 3)), TensorSpec("b", "U8", (5,)), TensorSpec("c", "F32", (2,))]
CONTENTS = [("a", bytes(range(12))), ("b", b"hello"), ("c", struct.pack("<2f", 1.5, -2))]


def put(path: Path, layout: Layout, contents: list[tuple[str, bytes]]) -> str:
    return write(path, layout, ((name, [content]) for name, content in contents))


def test_golden_bytes(tmp_path: Path) -> None:
    digest = put(tmp_path / "x", lay_out(SPECS, {"format": "test"}), CONTENTS)
    content = (tmp_path / "x").read_bytes()
    header = (
        b'{"__metadata__":{"format":"test"},'
        b'"a":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},'
        b'"padding.12":{"dtype":"U8","shape":[52],"data_offsets":[12,64]},'
        b'"b":{"dtype":"U8","shape":[5],"data_offsets":[64,69]},'
        b'"padding.69":{"dtype":"U8","shape":[59],"data_offsets":[69,128]},'
        b'"c":{"dtype":"F32","shape":[2],"data_offsets":[128,136]}}'
    )
    assert content[:8] == (4096 - 8).to_bytes(8, "little")
    assert content[8:4096] == header.ljust(4096 - 8)
    assert content[4096:] == bytes(range(12)).ljust(64, b"\0") + b"hello".ljust(64, b"\0") + CONTENTS[2][1]
    assert digest == hashlib.sha256(content).hexdigest()
    assert digest == "4b53778be7b7e4eea984847a55b826ef3a62febfe06c5665d9ca237d626a6a9a"


SHAPES = st.lists(st.integers(0, 7), min_size=1, max_size=3).map(tuple)
TENSORS = st.lists(st.tuples(st.sampled_from(["U8", "F16", "F32"]), SHAPES), max_size=8)
NUMPY = {"U8": np.uint8, "F16": np.float16, "F32": np.float32}


@settings(deadline=None)
@given(TENSORS, st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2), st.sampled_from([1, 64]))
def test_the_safetensors_library_reads_it(
    tensors: list[tuple[str, tuple[int, ...]]], metadata: dict[str, str], alignment: int
) -> None:
    rng = np.random.default_rng(len(tensors))
    specs = [TensorSpec(f"tensor.{i}", dtype, shape) for i, (dtype, shape) in enumerate(tensors)]
    contents = {s.name: rng.integers(0, 100, s.shape).astype(NUMPY[s.dtype]) for s in specs}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "x.safetensors"
        put(path, lay_out(specs, metadata, alignment), [(n, a.tobytes()) for n, a in contents.items()])
        with safe_open(path, framework="numpy") as file:
            assert file.metadata() == metadata
            for spec in specs:
                np.testing.assert_array_equal(file.get_tensor(spec.name), contents[spec.name])


@given(TENSORS)
def test_data_and_tensors_are_aligned_and_there_are_no_holes(tensors: list[tuple[str, tuple[int, ...]]]) -> None:
    specs = [TensorSpec(f"tensor.{i}", dtype, shape) for i, (dtype, shape) in enumerate(tensors)]
    layout = lay_out(specs, {})
    assert len(layout.header) % 4096 == 0
    assert all(layout.offsets[spec.name] % 64 == 0 for spec in specs)
    position = len(layout.header)
    for spec in layout.order:
        assert layout.offsets[spec.name] == position
        position += spec.nbytes
    assert layout.nbytes == position


def test_a_header_of_many_tensors_still_ends_at_a_page() -> None:
    layout = lay_out([TensorSpec(f"model.layers.{i}.weight", "U8", (1,)) for i in range(200)], {})
    assert len(layout.header) > 4096
    assert len(layout.header) % 4096 == 0
    assert json.loads(layout.header[8:])["model.layers.0.weight"]["data_offsets"] == [0, 1]


def test_offsets_are_where_the_bytes_lie(tmp_path: Path) -> None:
    layout = lay_out(SPECS, {})
    put(tmp_path / "x", layout, CONTENTS)
    content = (tmp_path / "x").read_bytes()
    for name, expected in CONTENTS:
        assert content[layout.offsets[name] :].startswith(expected)
    assert len(content) == layout.nbytes


def test_a_tensor_may_come_in_pieces_and_each_is_counted(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []
    pieces: list[tuple[str, list[bytes | memoryview]]] = [
        ("a", [bytes(5), bytes(7)]),
        ("b", [bytes(5)]),
        ("c", [memoryview(bytes(8))]),
    ]
    write(tmp_path / "x", lay_out(SPECS, {}), pieces, lambda name, count: seen.append((name, count)))
    assert seen == [("a", 5), ("a", 7), ("b", 5), ("c", 8)]


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (CONTENTS[:2], "missing at the end"),
        (CONTENTS[1:], "b came instead of a"),
        ([CONTENTS[0], CONTENTS[2]], "c came instead of b"),
        ([*CONTENTS, ("d", b"")], "d is not in the layout"),
        ([("a", bytes(11)), *CONTENTS[1:]], "a: 11 bytes written instead of 12"),
        ([("a", bytes(13)), *CONTENTS[1:]], "a: 13 bytes written instead of 12"),
    ],
)
def test_contents_that_do_not_follow_the_layout_are_refused(
    contents: list[tuple[str, bytes]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        put(tmp_path / "x", lay_out(SPECS, {}), contents)


@pytest.mark.parametrize("dtype", sorted(ITEM_SIZES))
def test_sizes_in_bytes(dtype: str) -> None:
    assert TensorSpec("x", dtype, (3, 4)).nbytes == 12 * ITEM_SIZES[dtype]
