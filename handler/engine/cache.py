"""The attention's cache: one array a layer and part, whose pages take no memory until they are written."""

from __future__ import annotations

import ctypes
import functools
import math
import mmap
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handler.artefact import Artefact

# What a layer's cache consists of; the int8 one has a scale for each token and head.
PARTS: Mapping[str, Mapping[str, type[np.generic]]] = {
    "float32": {"key": np.float32, "value": np.float32},
    "float16": {"key": np.float16, "value": np.float16},
    "int8": {"key": np.int8, "value": np.int8, "key_scale": np.float32, "value_scale": np.float32},
}


def token_bytes(artefact: Artefact) -> int:
    """Bytes that one token takes in the caches of all layers."""
    parts = PARTS[artefact.kv_cache_dtype].items()
    head = sum(
        np.dtype(dtype).itemsize * (1 if part.endswith("_scale") else artefact.head_dim) for part, dtype in parts
    )
    return artefact.num_hidden_layers * artefact.num_key_value_heads * head


def allocate(artefact: Artefact, slots: int = 1, positions: int | None = None) -> dict[str, NDArray[Any]]:
    """Make an empty cache.

    Args:
        artefact: names the cache's dtype and shape.
        slots: sequences that it can hold.
        positions: tokens of each; None for the artefact's whole context.

    Returns:
        `{layer}.{part}` → `(slots, num_key_value_heads, positions, head_dim)`, scales without the last dimension.
    """
    shape = (slots, artefact.num_key_value_heads, positions or artefact.context_length, artefact.head_dim)
    return {
        f"{layer}.{part}": _lazy_zeros(shape[:3] if part.endswith("_scale") else shape, np.dtype(dtype))
        for layer in range(artefact.num_hidden_layers)
        for part, dtype in PARTS[artefact.kv_cache_dtype].items()
    }


def give_back(cache: Mapping[str, NDArray[Any]], slot: int, kept: int) -> None:
    """Give the memory of a slot back to the system, but for its first tokens; the rest is zeros then.

    Args:
        cache: from `allocate`.
        slot: which.
        kept: tokens that stay.
    """
    for array in cache.values():
        for head in array[slot]:
            rest = head[kept:]
            start = -(-rest.ctypes.data // mmap.PAGESIZE) * mmap.PAGESIZE
            length = (rest.ctypes.data + rest.nbytes - start) // mmap.PAGESIZE * mmap.PAGESIZE
            if length > 0:
                _libc().madvise(start, length, mmap.MADV_DONTNEED)


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc


def _lazy_zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros of which only the touched 4 KiB pages take memory.

    numpy asks for huge pages; the heads of one token lie megabytes apart, so each would take 2 MiB of them.
    """
    count = math.prod(shape)
    memory = mmap.mmap(-1, count * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, dtype=dtype, count=count).reshape(shape)
