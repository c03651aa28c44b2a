from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_export.errors import CheckpointDamaged, ExportError, GgufUnsupported
from model_export.gguf.header import HEADER_MAX, Header, read_header
from model_export.gguf.types import TYPES, UNREADABLE
from tests.model_export.gguf.helpers import entry, file, tensor, text, texts


def read(content: bytes, directory: Path) -> Header:
    path = directory / "x.gguf"
    path.write_bytes(content)
    return read_header(path)


GOLDEN = bytes.fromhex(
    "4747554603000000" + "0100000000000000" + "0300000000000000"  # GGUF, version 3, one tensor, three entries
    "0100000000000000" + "61" + "04000000" + "07000000"  # a: u32 7
    "0100000000000000" + "62" + "08000000" + "0200000000000000" + "c3a9"  # b: the text é
    "0100000000000000" + "63" + "09000000" + "06000000" + "0200000000000000" + "acc52737" + "0000803f"  # c: f32s
    "0100000000000000" + "74" + "02000000" + "0200000000000000" + "0300000000000000"  # t: two columns, three rows
    "00000000" + "0000000000000000"  # of F32, at the data's beginning
)


def test_golden_bytes(tmp_path: Path) -> None:
    start = len(GOLDEN) + -len(GOLDEN) % 32
    header = read(GOLDEN.ljust(start, b"\0") + bytes(24), tmp_path)
    assert (header.metadata["a"], header.metadata["b"]) == (7, "é")
    np.testing.assert_array_equal(header.metadata["c"], np.array([1e-5, 1], dtype=np.float32))
    info = header.tensors["t"]
    assert (info.type.name, info.shape, info.offset, info.nbytes) == ("F32", (3, 2), start, 24)


def test_types_are_ggml_s() -> None:
    for number, kind in TYPES.items():
        assert gguf.GGMLQuantizationType(number).name == kind.name
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(number)] == (kind.weights, kind.nbytes)
    assert {n: gguf.GGMLQuantizationType(n).name for n in UNREADABLE} == UNREADABLE
    assert {int(kind) for kind in gguf.GGMLQuantizationType} == {*TYPES, *UNREADABLE}


def test_what_the_package_writes_is_read(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_custom_alignment(128)
    writer.add_key_value("f", 1e-5, gguf.GGUFValueType.FLOAT32)
    writer.add_key_value("big", 2**63, gguf.GGUFValueType.UINT64)
    writer.add_key_value("flags", [True, False], gguf.GGUFValueType.ARRAY)
    writer.add_tensor("a", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.add_tensor("b", np.arange(4, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = read_header(tmp_path / "x.gguf")
    assert (header.metadata["f"], header.metadata["big"]) == (1e-5, 2**63)
    assert header.metadata["flags"].tolist() == [1, 0]
    assert [(t.shape, t.offset % 128) for t in header.tensors.values()] == [((2, 3), 0), ((4,), 0)]


# ---------------------------------------------------------------- damaged files

A, T = entry("a", "u32", 7), tensor("t", [2, 3])
WHOLE = file([A], [T], bytes(24))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "doesn't begin with GGUF"),
        (b"GGML" + WHOLE[4:], "doesn't begin with GGUF"),
        (WHOLE[:7], "ends early"),
        (WHOLE[:30], "ends early|can't hold"),
        (WHOLE[:-1], "ends before t does"),
        (file([A], counts=(0, 2**64 - 1)), "can't hold the 18446744073709551615 metadata entries"),
        (file([A], counts=(2**63, 1)), "can't hold the 9223372036854775808 tensors"),
        (file([A, A]), "'a' twice"),
        (file([entry("", "u32", 7)]), "a key of the metadata is empty"),
        (file([text("a") + struct.pack("<II", 99, 0)]), "a has the unknown type 99"),
        (file([text("a") + struct.pack("<IQ", 8, 2**60)]), "a has 1152921504606846976 bytes"),
        (file([struct.pack("<Q", 2**60) + bytes(20)]), "a key of the metadata has 1152921504606846976 bytes"),
        (file([text("k" * 70_000) + bytes(8)]), "a key of the metadata has 70000 bytes"),
        (file([text(b"\xff") + struct.pack("<II", 4, 0)]), "a key of the metadata is no UTF-8"),
        (file([texts("a", [b"\xc3"])]), "a is no UTF-8"),
        (file([text("a") + struct.pack("<IB", 7, 2)]), "a is 2: expected 0 or 1"),
        (file([text("a") + struct.pack("<IIQ", 9, 8, 2**61)]), "can't hold the 2305843009213693952 strings of a"),
        (file([text("a") + struct.pack("<IIQ", 9, 12, 2**60)]), "can't hold the 1152921504606846976 numbers of a"),
        (file([text("a") + struct.pack("<IIQ", 9, 9, 1)]), "a is an array of arrays"),
        (file([text("a") + struct.pack("<IIQ", 9, 77, 1) + bytes(8)]), "a is an array of the unknown type 77"),
        (file([], [T, T], bytes(24)), "the tensor t twice"),
        (file([], [tensor("", [2])], bytes(24)), "tensor '' has 1 dimensions"),
        (file([], [tensor("t", [])], bytes(24)), "tensor 't' has 0 dimensions"),
        (file([], [tensor("t", [1] * 5)], bytes(24)), "tensor 't' has 5 dimensions"),
        (file([], [text("t") + struct.pack("<I", 2**32 - 1) + bytes(20)]), "has 4294967295 dimensions"),
        (file([], [tensor("t" * 65, [2])], bytes(24)), "a tensor's name has 65 bytes"),
        (file([], [tensor("t", [0, 3])], bytes(24)), r"t is F32 \[0, 3\]"),
        (file([], [tensor("t", [33], kind=2)], bytes(64)), r"t is Q4_0 \[33\]: rows of 32"),
        (file([], [tensor("t", [2**62, 2**62])], bytes(24)), "ends before t does"),
        (file([], [tensor("t", [2**63, 2])], bytes(24)), "ends before t does"),
        (file([], [tensor("t", [2], offset=2**63)], bytes(24)), "ends before t does"),
        (file([], [tensor("t", [2], offset=8)], bytes(24)), "t is at 8, no multiple of 32"),
        (file([], [tensor("t", [16]), tensor("u", [16], offset=32)], bytes(128)), "t and u overlap"),
        (file([entry("general.alignment", "u32", 24)], []), "general.alignment is 24: expected a power of two"),
        (file([entry("general.alignment", "u32", 0)], []), "general.alignment is 0"),
        (file([entry("general.alignment", "u32", 2**31)], []), "general.alignment is 2147483648"),
        (file([entry("general.alignment", "text", "x")], []), "general.alignment is 'x'"),
        (file([entry("general.alignment", "bool", 1)], []), "general.alignment is True"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_file(content: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointDamaged, match=reason):
        read(content, tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (file(version=1), "is of version 1; little-endian files of versions 2 and 3"),
        (file(version=4), "is of version 4"),
        (file(version=3 << 24), "is big-endian"),
        (file([], [tensor("t", [2], kind=99)], bytes(24)), "t is the unknown type 99"),
        (file([], [tensor("t", [2], kind=26)], bytes(24)), "t is I32, which can't be read"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read_is_named(content: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(GgufUnsupported, match=reason):
        read(content, tmp_path)


def test_a_header_has_an_end(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    with path.open("wb") as opened:
        opened.write(file([text("a") + struct.pack("<IIQ", 9, 0, HEADER_MAX)]))
        opened.truncate(2 * HEADER_MAX)  # a hole: takes no room
    with pytest.raises(CheckpointDamaged, match=f"a goes beyond {HEADER_MAX} bytes"):
        read_header(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointDamaged, match="can't be read: No such file"):
        read_header(tmp_path / "x.gguf")


SMALL = file([A, texts("b", ["x", "yz"]), entry("c", "f32", 0.5)], [T, tensor("u", [32], kind=2, offset=32)], bytes(50))


def said(content: bytes, directory: Path) -> str | None:
    """One line: the error, or nothing to complain of; None if it is more than that."""
    try:
        header = read(content, directory)
    except ExportError as error:
        return None if "\n" in str(error) else str(error)
    for info in header.tensors.values():
        assert 0 < info.nbytes <= len(content) - info.offset
    return ""


@settings(max_examples=300)
@given(data=st.data())
def test_bytes_changed_give_one_clear_line(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    assert said(bytes(content), tmp_path_factory.getbasetemp()) is not None


@settings(max_examples=100)
@given(
    at=st.integers(4, len(SMALL) - 8), value=st.integers(0, 2**64 - 1) | st.integers(0, 64).map(lambda n: 2**64 >> n)
)
def test_numbers_changed_give_one_clear_line(at: int, value: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = SMALL[:at] + struct.pack("<Q", min(value, 2**64 - 1)) + SMALL[at + 8 :]
    assert said(content, tmp_path_factory.getbasetemp()) is not None


@given(end=st.integers(0, len(SMALL)))
def test_a_file_cut_anywhere_is_damaged(end: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    if end < len(SMALL):
        with pytest.raises(CheckpointDamaged):
            read(SMALL[:end], tmp_path_factory.getbasetemp())
