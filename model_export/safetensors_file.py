"""Writing a SafeTensors file as a stream, laid out to be mapped into memory and used as it lies.

The format (https://github.com/huggingface/safetensors) is a little-endian u64 header length, a JSON header, and the
tensors. What this writer adds within it: the header is padded with spaces so that data starts at a multiple of 4,096,
every tensor starts at a multiple of 64, and where a tensor's size leaves a gap, a padding tensor named
`padding.<offset>` fills it, since the format allows no holes.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

DATA_ALIGNMENT = 4096
TENSOR_ALIGNMENT = 64
ITEM_SIZES = {"U8": 1, "F16": 2, "BF16": 2, "F32": 4}


@dataclass(frozen=True)
class TensorSpec:
    """A tensor to be stored. `dtype` is SafeTensors' name of it."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return prod(self.shape) * ITEM_SIZES[self.dtype]


@dataclass(frozen=True)
class Layout:
    """Where everything lies.

    Attributes:
        header: length, JSON and padding: all bytes before the data.
        offsets: tensor name → offset from the start of the file.
        order: all tensors in file order, padding included.
    """

    header: bytes
    offsets: Mapping[str, int]
    order: tuple[TensorSpec, ...]

    @property
    def nbytes(self) -> int:
        """Size of the whole file."""
        return len(self.header) + sum(spec.nbytes for spec in self.order)


def lay_out(tensors: Sequence[TensorSpec], metadata: Mapping[str, str], alignment: int = TENSOR_ALIGNMENT) -> Layout:
    """Place tensors one after the other, in the order given."""
    order: list[TensorSpec] = []
    entries: dict[str, object] = {"__metadata__": dict(metadata)}
    position = 0
    for spec in tensors:
        gap = -position % alignment
        if gap:
            order.append(TensorSpec(f"padding.{position}", "U8", (gap,)))
            position = _enter(entries, order[-1], position)
        order.append(spec)
        position = _enter(entries, spec, position)
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % DATA_ALIGNMENT)
    header = struct.pack("<Q", len(text)) + text
    offsets: dict[str, int] = {}
    position = len(header)
    for spec in order:
        offsets[spec.name] = position
        position += spec.nbytes
    return Layout(header, offsets, tuple(order))


def _enter(entries: dict[str, object], spec: TensorSpec, position: int) -> int:
    end = position + spec.nbytes
    entries[spec.name] = {"dtype": spec.dtype, "shape": list(spec.shape), "data_offsets": [position, end]}
    return end


def write(
    path: Path,
    layout: Layout,
    contents: Iterable[tuple[str, Iterable[bytes | memoryview]]],
    advance: Callable[[str, int], None] = lambda name, count: None,
) -> str:
    """Write a file whose tensors arrive in file order, each as a series of pieces.

    Args:
        path: the new file.
        layout: from `lay_out`.
        contents: tensor name and its bytes, padding tensors left out.
        advance: called with the tensor's name and the number of bytes after each piece.

    Returns:
        sha256 of the file, hexadecimal.

    Raises:
        ValueError: the contents don't follow the layout; that is a bug of the caller.
        OSError: the disk is full or fails.
    """
    digest = hashlib.sha256()
    with path.open("wb") as file:

        def put(piece: bytes | memoryview) -> None:
            file.write(piece)
            digest.update(piece)

        put(layout.header)
        remaining = iter(layout.order)
        for name, pieces in contents:
            spec = _pad_up_to(name, remaining, put)
            written = 0
            for piece in pieces:
                put(piece)
                written += len(piece)
                advance(name, len(piece))
            if written != spec.nbytes:
                raise ValueError(f"{name}: {written} bytes written instead of {spec.nbytes}")
        if next(remaining, None) is not None:
            raise ValueError("tensors are missing at the end")
        file.flush()
    return digest.hexdigest()


def _pad_up_to(name: str, remaining: Iterator[TensorSpec], put: Callable[[bytes], None]) -> TensorSpec:
    for spec in remaining:
        if spec.name == name:
            return spec
        if not spec.name.startswith("padding."):
            raise ValueError(f"{name} came instead of {spec.name}")
        put(bytes(spec.nbytes))
    raise ValueError(f"{name} is not in the layout")
