from __future__ import annotations

import struct
from pathlib import Path

import pytest

from bench.llama_cpp.errors import GgufInvalid
from bench.llama_cpp.gguf import GgufTensor, bits_per_weight, read_tensors, types_by_class

F32, Q4_0, Q6_K = 0, 2, 14


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(path: Path, *tensors: tuple[str, int, tuple[int, ...]]) -> Path:
    """A header with some metadata of each kind and these tensors: name, type, shape."""
    metadata = [
        text("general.name") + struct.pack("<I", 8) + text("tiny"),
        text("tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b"),
        text("scores") + struct.pack("<IIQ3f", 9, 6, 3, 1, 2, 3),
        text("flag") + struct.pack("<I?", 7, True),
    ]
    listed = [
        text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, 0) for name, kind, shape in tensors
    ]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    path.write_bytes(head + b"".join(metadata + listed))
    return path


def test_tensors_are_listed_with_their_bytes(tmp_path: Path) -> None:
    path = gguf(tmp_path / "a", ("blk.0.ffn_up.weight", Q4_0, (64, 3)), ("output_norm.weight", F32, (64,)))
    assert read_tensors(path) == [
        GgufTensor("blk.0.ffn_up.weight", "Q4_0", 192, 108),
        GgufTensor("output_norm.weight", "F32", 64, 256),
    ]


@pytest.mark.parametrize(("kind", "bits"), [(Q4_0, 4.5), (Q6_K, 6.5625), (F32, 32)])
def test_scales_count_as_bits(kind: int, bits: float, tmp_path: Path) -> None:
    assert bits_per_weight(read_tensors(gguf(tmp_path / "a", ("w", kind, (256, 2)))), 512) == bits


def test_tables_of_the_rotary_embedding_are_no_weights(tmp_path: Path) -> None:
    tensors = read_tensors(gguf(tmp_path / "a", ("w", Q4_0, (256,)), ("rope_freqs.weight", F32, (64,))))
    assert bits_per_weight(tensors, 256) == 4.5
    assert types_by_class(tensors) == {"w": {"Q4_0": 1}}


def test_types_are_counted_by_class(tmp_path: Path) -> None:
    names = [("blk.0.ffn_down.weight", Q6_K), ("blk.1.ffn_down.weight", Q4_0), ("token_embd.weight", Q6_K)]
    tensors = read_tensors(gguf(tmp_path / "a", *((name, kind, (256,)) for name, kind in names)))
    assert types_by_class(tensors) == {"ffn_down": {"Q6_K": 1, "Q4_0": 1}, "token_embd": {"Q6_K": 1}}


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"PK" * 40)
    with pytest.raises(GgufInvalid, match="no GGUF file"):
        read_tensors(tmp_path / "a")


def test_a_type_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GgufInvalid, match="99"):
        read_tensors(gguf(tmp_path / "a", ("w", 99, (32,))))


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    whole = gguf(tmp_path / "a", ("w", Q4_0, (32, 2))).read_bytes()
    for size in range(len(whole)):
        (tmp_path / "b").write_bytes(whole[:size])
        with pytest.raises(GgufInvalid):
            read_tensors(tmp_path / "b")
