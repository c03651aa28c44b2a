"""Reading an artefact back: its description, its manifest, and what its weights file holds."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from os.path import isfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from model_export import artefact
from model_export.config import ModelConfig, RopeScaling
from model_export.errors import ArtefactInvalid, OptionInvalid
from model_export.options import CACHE_DTYPES, Embeddings, ExportOptions

# What inspect and verify need of firebrick.json: key → its type, or the keys of an object.
DESCRIBED: Mapping[str, type | tuple[str, ...]] = {
    "model": ("id", "revision", "architecture"),
    "context_length": int,
    "vocab_size": int,
    "hidden_size": int,
    "num_hidden_layers": int,
    "num_attention_heads": int,
    "num_key_value_heads": int,
    "head_dim": int,
    "kv_cache_dtype": str,
    "kernels": str,
    "quantization": ("method", "rounding", "head_bits", "wide", "block_size", "activations"),
    "checkpoint_config": tuple(field.name for field in fields(ModelConfig)),
}


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

    @property
    def config(self) -> ModelConfig:
        """The model's shape.

        Raises:
            ArtefactInvalid: firebrick.json doesn't describe one.
        """
        raw = self.description["checkpoint_config"]
        try:
            scaling = raw["rope_scaling"] and RopeScaling(**raw["rope_scaling"])
            known: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()
            }
            known["rope_scaling"] = scaling
            return ModelConfig(**known)
        except TypeError as error:
            where = self.directory / artefact.DESCRIPTION
            raise ArtefactInvalid(f"{where} misspells checkpoint_config: {error}: export the model again") from None

    @property
    def options(self) -> ExportOptions:
        """What the exporter was asked for.

        Raises:
            ArtefactInvalid: firebrick.json has an unknown or an impossible choice.
        """
        quantization = self.description["quantization"]
        dtypes = {dtype: kv_cache for kv_cache, dtype in CACHE_DTYPES.items()}
        given = {key: quantization[key] for key in ("rounding", "head_bits", "block_size") if quantization[key]}
        scale_bits = quantization.get("scale_bits", 16)  # format 1 has no others
        try:
            return ExportOptions(
                quantization=quantization["method"],
                activations=quantization["activations"],
                kernels=self.description["kernels"],
                kv_cache=dtypes[self.description["kv_cache_dtype"]],
                context=self.description["context_length"],
                scale_bits=scale_bits if quantization["method"] == "int4" else None,
                embeddings=_pooling(self.description),
                **given,
            )
        except (OptionInvalid, KeyError, TypeError) as error:
            where = self.directory / artefact.DESCRIPTION
            raise ArtefactInvalid(f"{where} has an impossible choice: {error}: export the model again") from None


def _pooling(description: Mapping[str, Any]) -> Embeddings:
    embeddings = description.get("embeddings")  # older artefacts have none
    chosen: Embeddings = "none" if embeddings is None else embeddings["pooling"]
    return chosen


def read_artefact(directory: Path) -> ReadArtefact:
    """Read everything but the weights.

    Raises:
        ArtefactInvalid: a file is missing or malformed, or the format version isn't ours.
    """
    if not directory.is_dir():
        raise ArtefactInvalid(f"{directory} is no directory: give an artefact made by python -m model_export")
    description = _versioned(directory / artefact.DESCRIPTION)
    _check_description(directory / artefact.DESCRIPTION, description)
    manifest = _versioned(directory / artefact.MANIFEST)
    _check_manifest(directory / artefact.MANIFEST, manifest)
    for name in sorted({artefact.GRAPH, artefact.WEIGHTS, *manifest["files"]}):
        if not isfile(directory / name):
            raise ArtefactInvalid(f"{directory / name} is missing: export the model again")
    return ReadArtefact(directory, description, manifest, read_tensors(directory / artefact.WEIGHTS))


def _versioned(path: Path) -> dict[str, Any]:
    value = _json(path)
    version = value.get("format_version")
    if version not in artefact.READABLE_VERSIONS or isinstance(version, bool):
        known = " and ".join(map(str, artefact.READABLE_VERSIONS))
        raise ArtefactInvalid(
            f"{path} has format_version {version!r}; this program reads {known}: export the model again"
        )
    return value


def _check_description(path: Path, description: Mapping[str, Any]) -> None:
    for key, kind in DESCRIBED.items():
        if not isinstance(description.get(key), kind if isinstance(kind, type) else dict):
            raise ArtefactInvalid(f"{path} lacks or misspells {key}: export the model again")
        for part in () if isinstance(kind, type) else kind:
            if part not in description[key]:
                raise ArtefactInvalid(f"{path} lacks {key}.{part}: export the model again")
    for key, known in {"kernels": ("stock", "native"), "kv_cache_dtype": tuple(CACHE_DTYPES.values())}.items():
        if description[key] not in known:
            raise ArtefactInvalid(f"{path} has {key} {description[key]!r}; this program knows {', '.join(known)}")


def _check_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    files = manifest.get("files")
    if not isinstance(files, dict):
        raise ArtefactInvalid(f"{path} lists no files: export the model again")
    for name, entry in files.items():
        whole = isinstance(entry, dict) and isinstance(entry.get("sha256"), str) and isinstance(entry.get("size"), int)
        if not whole or (path.parent / name).parent != path.parent:
            raise ArtefactInvalid(f"{path} has a malformed entry {name!r}: export the model again")


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
    header, start = _header(path)
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in sorted(header.items(), key=lambda item: tuple(item[1]["data_offsets"])):
        first, end = entry["data_offsets"]
        tensors[name] = StoredTensor(entry["dtype"], tuple(entry["shape"]), start + first, end - first)
    return tensors


def read_metadata(path: Path) -> dict[str, str]:
    """Read what a safetensors file says of itself, in the file's order."""
    return dict(_header(path)[0].get("__metadata__", {}))


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The JSON header, and where the data begins."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length)), 8 + length


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
