"""model.safetensors, mapped once: a thread reads it ahead while Python imports, and the session computes with it.

Left to itself, onnxruntime maps every tensor when the session is created, and each page is entered into the page tables
while the first token waits for it.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from handler.errors import ArtefactDamaged

if TYPE_CHECKING:
    from numpy.typing import NDArray

# SafeTensors' names of what the native kernels use.
DTYPES = {"U8": ("u1", 1), "F32": ("<f4", 4)}


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies.

    Attributes:
        dtype: SafeTensors' name of it.
        start: bytes from the start of the file.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int


class Weights:
    """A mapped file; it stays mapped as long as this object or one of its arrays lives.

    Attributes:
        path: the file.
        address: of its first byte.
        nbytes: its size.
        tensors: what is in it, by name.
    """

    def __init__(self, path: Path) -> None:
        """Map a file; only its header is read.

        Raises:
            ArtefactDamaged: it can't be mapped, or its header doesn't describe it.
        """
        self.path = path
        try:
            with path.open("rb") as file:
                self.nbytes = os.fstat(file.fileno()).st_size
                self.tensors = _tensors(file, self.nbytes)
                self.address = _map(file.fileno(), self.nbytes)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ArtefactDamaged(f"{path} can't be mapped ({error}); export the model again") from None
        self._memory = (ctypes.c_ubyte * self.nbytes).from_address(self.address)
        weakref.finalize(self._memory, _unmap, self.address, self.nbytes).atexit = False

    @property
    def content(self) -> memoryview:
        """All bytes of the file."""
        return memoryview(self._memory)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The tensors as read-only views of the mapping."""
        import numpy as np

        whole = np.frombuffer(memoryview(self._memory), dtype=np.uint8)
        whole.flags.writeable = False
        return {
            name: np.ndarray(tensor.shape, DTYPES[tensor.dtype][0], whole, tensor.start)
            for name, tensor in self.tensors.items()
        }


def read_header(file: BinaryIO, nbytes: int) -> tuple[dict[str, Any], int]:
    """Parse the header: a little-endian u64 length, then JSON; https://github.com/huggingface/safetensors.

    Returns:
        the JSON value as it stands, and where the data begins, in bytes from the start of the file.

    Raises:
        ValueError: it is longer than the file, or no JSON.
        RecursionError: it nests too deep.
    """
    length = int.from_bytes(file.read(8), "little")
    data = 8 + length
    if data > nbytes:
        raise ValueError(f"a header of {length} bytes in a file of {nbytes}")
    entries: dict[str, Any] = json.loads(file.read(length))
    return entries, data


def _tensors(file: BinaryIO, nbytes: int) -> Mapping[str, Tensor]:
    entries, data = read_header(file, nbytes)
    return {name: _tensor(name, entry, data, nbytes) for name, entry in entries.items() if name != "__metadata__"}


def _tensor(name: str, entry: Mapping[str, Any], data: int, nbytes: int) -> Tensor:
    dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if dtype not in DTYPES:
        raise ValueError(f"{name} has dtype {dtype!r}, not {' or '.join(DTYPES)}")
    if not all(isinstance(number, int) and number >= 0 for number in (*shape, begin, end)):
        raise ValueError(f"{name} has shape {shape} and data_offsets {begin}, {end}")
    expected = prod(shape) * DTYPES[dtype][1]
    if end - begin != expected or end > nbytes - data:
        raise ValueError(f"{name} of {expected} bytes has data_offsets {begin}, {end} in {nbytes - data} bytes of data")
    return Tensor(dtype, tuple(shape), data + begin)


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mmap.restype = ctypes.c_void_p
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc


def _map(handle: int, nbytes: int) -> int:
    # Not Python's mmap: a read-only one doesn't tell its address.
    address = _libc().mmap(None, nbytes, mmap.PROT_READ, mmap.MAP_PRIVATE, handle, 0)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(address)


def _unmap(address: int, nbytes: int) -> None:
    _libc().munmap(address, nbytes)
