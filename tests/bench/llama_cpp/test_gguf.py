from __future__ import annotations

from math import prod
from pathlib import Path

import pytest

from bench.llama_cpp.gguf import bits_per_weight, read_tensors, types_by_class
from model_export.gguf.header import TensorInfo
from model_export.gguf.types import TYPES
from tests.model_export.gguf.helpers import file, tensor

F32, Q4_0, Q6_K = 0, 2, 14


def gguf(path: Path, *listed: tuple[str, int, tuple[int, ...]]) -> Path:
    """Write a file with these tensors: name, type, sizes."""
    entries, data = [], b""
    for name, kind, sizes in listed:
        entries.append(tensor(name, sizes, kind, len(data)))
        size = prod(sizes) // TYPES[kind].weights * TYPES[kind].nbytes
        data += bytes(size + -size % 32)
    path.write_bytes(file(tensors=entries, data=data))
    return path


def tensors(directory: Path, *listed: tuple[str, int, tuple[int, ...]]) -> list[TensorInfo]:
    """What is read of such a file."""
    return read_tensors(gguf(directory / "x.gguf", *listed))


@pytest.mark.parametrize(("kind", "bits"), [(Q4_0, 4.5), (Q6_K, 6.5625), (F32, 32)])
def test_scales_count_as_bits(kind: int, bits: float, tmp_path: Path) -> None:
    assert bits_per_weight(tensors(tmp_path, ("w", kind, (256, 2))), 512) == bits


def test_tables_of_the_rotary_embedding_are_no_weights(tmp_path: Path) -> None:
    found = tensors(tmp_path, ("w", Q4_0, (256,)), ("rope_freqs.weight", F32, (64,)))
    assert bits_per_weight(found, 256) == 4.5
    assert types_by_class(found) == {"w": {"Q4_0": 1}}


def test_types_are_counted_by_class(tmp_path: Path) -> None:
    names = [("blk.0.ffn_down.weight", Q6_K), ("blk.1.ffn_down.weight", Q4_0), ("token_embd.weight", Q6_K)]
    found = tensors(tmp_path, *((name, kind, (256,)) for name, kind in names))
    assert types_by_class(found) == {"ffn_down": {"Q6_K": 1, "Q4_0": 1}, "token_embd": {"Q6_K": 1}}
