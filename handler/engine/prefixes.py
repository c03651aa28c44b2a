"""Files with what the cache holds after a prompt's beginning, so that no server has to compute it again.

For an artefact and a number of tokens there is only one right header, so reading compares the file's with the one that
writing would make. docs/artefact.md has the format.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handler.artefact import Artefact
from handler.engine.cache import PARTS
from handler.engine.weights import read_header
from handler.errors import PrefixDamaged, PrefixMismatch, PrefixUnwritable, shown

FORMAT_VERSION = "1"  # rises too when kernels lay the cache out otherwise
IDS = "ids"
METADATA = "__metadata__"
LEAST = 2  # tokens; the first alone saves nobody anything
DATA_ALIGNMENT = 4096
NAMES: Mapping[np.dtype[Any], str] = {
    np.dtype("<i4"): "I32",
    np.dtype("<f4"): "F32",
    np.dtype("<f2"): "F16",
    np.dtype("i1"): "I8",
}
DTYPES = {name: dtype for dtype, name in NAMES.items()}


@dataclass(frozen=True)
class StoredPrefix:
    """A prefix whose keys and values are read when they are used.

    Attributes:
        ids: of its tokens.
        arrays: `{layer}.{part}` → `(num_key_value_heads, tokens, …)`, read-only views of the mapped file.
    """

    ids: Sequence[int]
    arrays: Mapping[str, NDArray[Any]]


def write_prefix(path: Path, artefact: Artefact, ids: Sequence[int], slot: Mapping[str, NDArray[Any]]) -> int:
    """Write the first positions of a slot.

    Args:
        path: the new file.
        artefact: what they were computed with.
        ids: of the tokens that they belong to.
        slot: `{layer}.{part}` → `(num_key_value_heads, positions, …)`.

    Returns:
        the file's size in bytes.

    Raises:
        PrefixUnwritable: the disk is full or fails; there is no file then.
    """
    arrays = {IDS: np.array(ids, dtype="<i4"), **{name: array[:, : len(ids)] for name, array in slot.items()}}
    tensors = _tensors(artefact, len(ids))
    text = json.dumps({METADATA: _metadata(artefact), **tensors}, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % DATA_ALIGNMENT)
    try:
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in tensors:
                file.write(np.ascontiguousarray(arrays[name]).data)
            return file.tell()
    except OSError as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise PrefixUnwritable(path, error.strerror) from None


def read_prefix(path: Path, artefact: Artefact) -> StoredPrefix:
    """Check a file's header and ids, and map the rest.

    Raises:
        PrefixMismatch: it belongs to another artefact, or has another format.
        PrefixDamaged: it isn't what its header says, or the header isn't what the format says.
    """
    try:
        with path.open("rb") as file:
            nbytes = os.fstat(file.fileno()).st_size
            found, data = read_header(file, nbytes)
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError, RecursionError) as error:
        raise PrefixDamaged(path, error) from None
    tensors = _check(path, artefact, found)
    end = data + max(entry["data_offsets"][1] for entry in tensors.values())
    if end != nbytes:
        raise PrefixDamaged(path, f"it has {nbytes} bytes, and its tensors end at {end}")
    arrays = {name: _view(memory, data, entry) for name, entry in tensors.items()}
    ids = tuple(arrays.pop(IDS).tolist())
    strange = next((id for id in ids if not 0 <= id < artefact.vocab_size), None)
    if strange is not None:
        raise PrefixDamaged(path, f"token id {strange} in a vocabulary of {artefact.vocab_size}")
    return StoredPrefix(ids, arrays)


def _tensors(artefact: Artefact, tokens: int) -> dict[str, dict[str, Any]]:
    """What the header of so many tokens says of its tensors, which lie in this order without a gap."""
    shape = (artefact.num_key_value_heads, tokens, artefact.head_dim)
    wanted: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {IDS: ((tokens,), np.dtype("<i4"))}
    for layer in range(artefact.num_hidden_layers):
        for part, dtype in PARTS[artefact.kv_cache_dtype].items():
            wanted[f"{layer}.{part}"] = (shape[:2] if part.endswith("_scale") else shape, np.dtype(dtype))
    tensors: dict[str, dict[str, Any]] = {}
    position = 0
    for name, (sizes, kind) in wanted.items():
        end = position + prod(sizes) * kind.itemsize
        tensors[name] = {"dtype": NAMES[kind], "shape": list(sizes), "data_offsets": [position, end]}
        position = end
    return tensors


def _metadata(artefact: Artefact) -> dict[str, str]:
    return {
        "format": "firebrick-prefix",
        "format_version": FORMAT_VERSION,
        "kv_cache_dtype": artefact.kv_cache_dtype,
        "cache_key": artefact.cache_key,
    }


def _check(path: Path, artefact: Artefact, found: Any) -> Mapping[str, Mapping[str, Any]]:
    """Hold a header against the only right one, whose tensors are returned."""
    if not isinstance(found, dict) or not isinstance(found.get(METADATA), dict):
        raise PrefixDamaged(path, f"its header has no {METADATA}")
    for key, expected in _metadata(artefact).items():
        if found[METADATA].get(key) != expected:
            raise PrefixMismatch(path, key, found[METADATA].get(key), expected)
    tokens = _tokens(found.get(IDS))
    if not LEAST <= tokens < artefact.context_length:
        raise PrefixDamaged(path, f"{tokens} tokens, not {LEAST} to {artefact.context_length - 1}")
    tensors = _tensors(artefact, tokens)
    for name, entry in tensors.items():
        if found.get(name) != entry:
            raise PrefixDamaged(path, f"{name} is {json.dumps(found.get(name))}, not {json.dumps(entry)}")
    for name in found.keys() - {METADATA} - tensors.keys():
        raise PrefixDamaged(path, f"it holds {shown(name)}, which no cache of this artefact has")
    return tensors


def _tokens(entry: object) -> int:
    shape = entry.get("shape") if isinstance(entry, dict) else None
    match shape:
        case [int(tokens)]:
            return tokens
        case _:
            return 0


def _view(memory: mmap.mmap, data: int, entry: Mapping[str, Any]) -> NDArray[Any]:
    dtype: np.dtype[Any] = DTYPES[entry["dtype"]]
    return np.ndarray(entry["shape"], dtype, memory, data + entry["data_offsets"][0])
