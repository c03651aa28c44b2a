"""The header of a GGUF file: its metadata, and where its tensors lie.

Nothing in it is believed before it is checked against what the file can hold, so that a damaged or a malicious file
costs no more than `HEADER_MAX` bytes of reading. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from model_export.errors import CheckpointDamaged, GgufUnsupported
from model_export.gguf.types import TYPES, UNREADABLE, BlockType

MAGIC = b"GGUF"
VERSIONS = (2, 3)  # the same to a reader of little-endian files; in version 1 counts had 32 bits
HEADER_MAX = 64 << 20  # bytes; the largest vocabularies take about 15 MB
KEY_MAX, NAME_MAX, DIMENSIONS_MAX, ALIGNMENT_MAX = 65_535, 64, 4, 1 << 20
ALIGNMENT_KEY, DEFAULT_ALIGNMENT = "general.alignment", 32
U32, BOOL, STRING, ARRAY = 4, 7, 8, 9
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}
LEAST_ENTRY = 8 + 1 + 4 + 1  # bytes of a metadata entry: length and one byte of its key, type, value
LEAST_TENSOR = 8 + 1 + 4 + 8 + 4 + 8  # of a tensor: length and one byte of its name, dimensions, type, offset


@dataclass(frozen=True)
class TensorInfo:
    """A tensor: its type, its shape (rows first), its offset from the start of the file, its size in bytes."""

    name: str
    type: BlockType
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Attributes:
        path: the file.
        metadata: values by key: int, float, bool, str, a list of str, or a numpy array of numbers.
        tensors: by name, in the file's order.
    """

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, TensorInfo]


def read_header(path: Path) -> Header:
    """Read a file's header and check that its tensors lie within it, apart from each other.

    Raises:
        CheckpointDamaged: the file can't be read, is no GGUF file, ends early, or contradicts itself.
        GgufUnsupported: it has another version, is big-endian, or has a tensor of a type that can't be read.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(min(size, HEADER_MAX))
    except OSError as error:
        raise CheckpointDamaged(f"{path} can't be read: {error.strerror}") from None
    return _Reader(path, start, size).header()


class _Reader:
    """Walks through the beginning of a file."""

    def __init__(self, path: Path, start: bytes, size: int) -> None:
        self._path, self._start, self._size, self._at = path, start, size, 0

    def header(self) -> Header:
        self._check_version()
        tensors, entries = self._count("tensors", LEAST_TENSOR), self._count("metadata entries", LEAST_ENTRY)
        metadata: dict[str, Any] = {}
        for _ in range(entries):
            key, value = self._entry()
            if key in metadata:
                self._damaged(f"the metadata has {key!r} twice")
            metadata[key] = value
        alignment = self._alignment(metadata)
        infos = [self._tensor() for _ in range(tensors)]
        return Header(self._path, metadata, self._placed(infos, alignment))

    def _check_version(self) -> None:
        if self._start[:4] != MAGIC:
            self._damaged("it doesn't begin with GGUF", "no GGUF file")
        self._at = 4
        (version,) = self._unpack("<I")
        if version in VERSIONS:
            return
        (swapped,) = struct.unpack(">I", struct.pack("<I", version))
        what = "big-endian" if swapped in VERSIONS else f"of version {version}"
        raise GgufUnsupported(
            f"{self._path} is {what}; little-endian files of versions 2 and 3 can be read: convert the model again"
        )

    def _count(self, what: str, least: int) -> int:
        """A number of things that take at least so many bytes each."""
        (count,) = self._unpack("<Q")
        if count * least > self._size - self._at:
            self._damaged(f"it can't hold the {count} {what} that it announces")
        return int(count)

    def _entry(self) -> tuple[str, Any]:
        key = self._string("a key of the metadata", KEY_MAX)
        if not key:
            self._damaged("a key of the metadata is empty")
        (kind,) = self._unpack("<I")
        return key, self._value(kind, key)

    def _value(self, kind: int, key: str) -> Any:
        if kind == STRING:
            return self._string(key)
        if kind == ARRAY:
            return self._array(key)
        if kind not in SCALARS:
            self._damaged(f"{key} has the unknown type {kind}")
        (value,) = self._unpack(SCALARS[kind])
        if kind == BOOL:
            return self._bool(value, key)
        # A float32 is the shortest decimal that gives it: 1e-05, not 9.999999747378752e-06.
        return float(str(np.float32(value))) if SCALARS[kind] == "<f" else value

    def _array(self, key: str) -> Any:
        (kind,) = self._unpack("<I")
        if kind == STRING:
            return [self._string(key) for _ in range(self._count(f"strings of {key}", 8))]
        if kind not in SCALARS:
            what = "arrays" if kind == ARRAY else f"the unknown type {kind}"
            self._damaged(f"{key} is an array of {what}")
        dtype = np.dtype(SCALARS[kind])
        count = self._count(f"numbers of {key}", dtype.itemsize)
        return np.frombuffer(self._take(count * dtype.itemsize, key), dtype=dtype)

    def _bool(self, value: int, key: str) -> bool:
        if value > 1:
            self._damaged(f"{key} is {value}: expected 0 or 1")
        return bool(value)

    def _tensor(self) -> TensorInfo:
        """One entry of the list; its offset counts from where the data begins, as it does in the file."""
        name = self._string("a tensor's name", NAME_MAX)
        (dimensions,) = self._unpack("<I")
        if not name or not 1 <= dimensions <= DIMENSIONS_MAX:
            self._damaged(f"tensor {name!r} has {dimensions} dimensions")
        sizes = self._unpack(f"<{dimensions}Q")
        number, offset = self._unpack("<IQ")
        if number not in TYPES:
            what = UNREADABLE.get(number, f"the unknown type {number}")
            raise GgufUnsupported(f"{self._path}: {name} is {what}, which can't be read; use a file of another type")
        kind = TYPES[number]
        count = prod(sizes)
        if not count or sizes[0] % kind.weights:
            self._damaged(f"{name} is {kind.name} {list(sizes)}: rows of {kind.weights} weights are expected")
        return TensorInfo(name, kind, tuple(reversed(sizes)), offset, count // kind.weights * kind.nbytes)

    def _alignment(self, metadata: Mapping[str, Any]) -> int:
        value = metadata.get(ALIGNMENT_KEY, DEFAULT_ALIGNMENT)
        if type(value) is not int or not 1 <= value <= ALIGNMENT_MAX or value & (value - 1):
            self._damaged(f"{ALIGNMENT_KEY} is {value!r}: expected a power of two")
        return value

    def _placed(self, infos: list[TensorInfo], alignment: int) -> dict[str, TensorInfo]:
        """Tensors by name, with offsets from the start of the file, if they all lie in it."""
        data = -(-self._at // alignment) * alignment
        placed: dict[str, TensorInfo] = {}
        for info in infos:
            if info.name in placed:
                self._damaged(f"it has the tensor {info.name} twice")
            if info.offset % alignment:
                self._damaged(f"{info.name} is at {info.offset}, no multiple of {alignment}")
            if data + info.offset + info.nbytes > self._size:
                self._damaged(f"it ends before {info.name} does")
            placed[info.name] = TensorInfo(info.name, info.type, info.shape, data + info.offset, info.nbytes)
        for before, after in _neighbours(placed):
            if before.offset + before.nbytes > after.offset:
                self._damaged(f"{before.name} and {after.name} overlap")
        return placed

    def _string(self, what: str, largest: int = HEADER_MAX) -> str:
        (length,) = self._unpack("<Q")
        if length > largest:
            self._damaged(f"{what} has {length} bytes")
        try:
            return self._take(length, what).decode()
        except UnicodeDecodeError:
            self._damaged(f"{what} is no UTF-8 text")

    def _unpack(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(form, self._take(struct.calcsize(form), "it"))

    def _take(self, count: int, what: str) -> bytes:
        end = self._at + count
        if end > len(self._start):
            reason = "its header ends early" if self._size <= HEADER_MAX else f"{what} goes beyond {HEADER_MAX} bytes"
            self._damaged(reason)
        taken = self._start[self._at : end]
        self._at = end
        return taken

    def _damaged(self, reason: str, what: str = "no whole GGUF file") -> NoReturn:
        raise CheckpointDamaged(f"{self._path} is {what}: {reason}; download it again")


def _neighbours(tensors: Mapping[str, TensorInfo]) -> Iterator[tuple[TensorInfo, TensorInfo]]:
    order = sorted(tensors.values(), key=lambda info: info.offset)
    return pairwise(order)
