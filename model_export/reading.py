"""Reading an artefact back: its description, its manifest, its weights."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from model_export import artefact
from model_export.errors import ArtefactInvalid
from model_export.quantize import dequantize


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of model.safetensors: SafeTensors' dtype, shape, offset from the start of the file, size in bytes."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True)
class ReadArtefact:
    """A whole artefact directory.

    Attributes:
        description: firebrick.json.
        manifest: manifest.json.
        tensors: what model.safetensors holds, in file order, padding included.
    """

    directory: Path
    description: Mapping[str, Any]
    manifest: Mapping[str, Any]
    tensors: Mapping[str, StoredTensor]

    def weight(self, name: str, k: int | None = None) -> NDArray[np.float32]:
        """Read a weight, dequantized if it is quantized.

        Args:
            name: of the weight, not of its scales.
            k: row length without the last block's padding; None to keep it.
        """
        with safe_open(self.directory / artefact.WEIGHTS, framework="numpy") as file:
            values: NDArray[Any] = file.get_tensor(name)
            if values.dtype == np.float32:
                return values
            scales = file.get_tensor(f"{name}_scale")
        block = int(self.description["quantization"]["block_size"])
        bits = values.shape[2] * 8 // block
        return dequantize(values, scales, bits, values.shape[1] * block if k is None else k)

    def is_quantized(self, name: str) -> bool:
        """Whether a weight has scales."""
        return f"{name}_scale" in self.tensors


def read_artefact(directory: Path) -> ReadArtefact:
    """Read everything but the weights.

    Raises:
        ArtefactInvalid: a file is missing or malformed, or the format version isn't ours.
    """
    if not directory.is_dir():
        raise ArtefactInvalid(f"{directory} is no directory: give an artefact made by python -m model_export")
    description = _json(directory / artefact.DESCRIPTION)
    if description.get("format_version") != artefact.FORMAT_VERSION:
        raise ArtefactInvalid(
            f"{directory / artefact.DESCRIPTION} has format_version {description.get('format_version')!r}; this "
            f"program reads {artefact.FORMAT_VERSION}: export the model again"
        )
    manifest = _json(directory / artefact.MANIFEST)
    if not isinstance(manifest.get("files"), dict):
        raise ArtefactInvalid(f"{directory / artefact.MANIFEST} lists no files: export the model again")
    for name in sorted({artefact.GRAPH, artefact.WEIGHTS, *manifest["files"]}):
        if not (directory / name).is_file():
            raise ArtefactInvalid(f"{directory / name} is missing: export the model again")
    return ReadArtefact(directory, description, manifest, read_tensors(directory / artefact.WEIGHTS))


def read_tensors(path: Path) -> dict[str, StoredTensor]:
    """Read the header of a safetensors file, in file order.

    Raises:
        ArtefactInvalid: the safetensors library refuses it.
    """
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise ArtefactInvalid(f"{path} is no whole safetensors file: {error}: export the model again") from None
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in sorted(header.items(), key=lambda item: tuple(item[1]["data_offsets"])):
        start, end = entry["data_offsets"]
        tensors[name] = StoredTensor(entry["dtype"], tuple(entry["shape"]), 8 + length + start, end - start)
    return tensors


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtefactInvalid(f"{path} is missing: give an artefact made by python -m model_export") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ArtefactInvalid(f"{path} can't be read as JSON: {error}: export the model again") from None
    if not isinstance(value, dict):
        raise ArtefactInvalid(f"{path} holds a JSON {type(value).__name__}, not an object: export the model again")
    return value
