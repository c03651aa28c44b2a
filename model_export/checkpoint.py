"""A checkpoint's weights: which tensors there must be, and reading them a few rows at a time."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from os.path import isfile
from pathlib import Path
from typing import Protocol

import ml_dtypes  # noqa: F401  safetensors looks bfloat16 up by name, which needs it registered
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from model_export.config import ModelConfig, load_config, read_json
from model_export.decoder import HEAD, expected_tensors
from model_export.errors import CheckpointDamaged, CheckpointMismatch

DTYPES = ("BF16", "F16", "F32")
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
BARE_EMBEDDING = "embed_tokens.weight"


class Tensor(Protocol):
    """A tensor of a file, of whatever format."""

    @property
    def file(self) -> Path:
        """The file that it is in."""

    @property
    def dtype(self) -> str:
        """The format's name of its type."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape, rows first."""

    @property
    def nbytes(self) -> int:
        """Its bytes in the file."""

    @property
    def readable(self) -> bool:
        """Whether its type is one that holds weights."""

    @property
    def exact_bits(self) -> int | None:
        """The fewest bits, 4 or 8, that hold it exactly in blocks of 32; None if none do."""

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows `start:stop`; raises CheckpointDamaged."""

    def codes(self, start: int, stop: int, bits: int) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
        """The same rows exactly, as values with their zero point `(rows, blocks, 32)` and scales `(rows, blocks)`."""


@dataclass(frozen=True)
class _Location:
    """A tensor of a SafeTensors file."""

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]

    exact_bits = None

    @property
    def readable(self) -> bool:
        return self.dtype in DTYPES

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * (4 if self.dtype == "F32" else 2)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        try:
            # Opened anew each time: pages of a mapping that stays open would count as our memory.
            with safe_open(self.file, framework="numpy") as file:
                return _widen(file.get_slice(self.name)[start:stop])
        except (SafetensorError, OSError) as error:
            raise CheckpointDamaged(f"{self.file}: {self.name} can't be read: {error}") from None

    def codes(self, start: int, stop: int, bits: int) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
        raise NotImplementedError("exact_bits is None")


class Checkpoint:
    """Random access to a checkpoint's tensors, never holding more of them than is asked for."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors

    @classmethod
    def open(cls, directory: Path, config: ModelConfig) -> Checkpoint:
        """Read the headers of all weight files and hold them against the config.

        Raises:
            CheckpointDamaged: a file is missing or malformed.
            CheckpointMismatch: a tensor is missing, unknown, or has another shape or type than the config implies.
        """
        tensors = _locations(directory)
        if _is_bare(tensors):
            tensors = {name if name == HEAD else f"model.{name}": location for name, location in tensors.items()}
        return cls.of(tensors, config)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], config: ModelConfig) -> Checkpoint:
        """Hold tensors against the config; raises CheckpointMismatch as `open`."""
        expected = expected_tensors(config)
        _check_names(expected, tensors, config)
        for name, shape in expected.items():
            _check_tensor(name, shape, tensors[name])
        return cls(tensors)

    @property
    def paths(self) -> list[Path]:
        """The weight files."""
        return sorted({location.file for location in self._tensors.values()})

    @classmethod
    def shapes_of(cls, config: ModelConfig) -> Checkpoint:
        """A checkpoint with this config of which there are no values, only names and shapes."""
        return cls({name: _Location(Path(), name, "F32", shape) for name, shape in expected_tensors(config).items()})

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return self._tensors[name].shape

    def stored_bytes(self, name: str) -> int:
        """Size of a tensor in the checkpoint's own files."""
        return self._tensors[name].nbytes

    def dtype(self, name: str) -> str:
        """The type of a tensor, as its file's format calls it."""
        return self._tensors[name].dtype

    def exact_bits(self, name: str) -> int | None:
        """The fewest bits, 4 or 8, that hold a tensor exactly in blocks of 32; None if none do."""
        return self._tensors[name].exact_bits

    def codes(self, name: str, start: int, stop: int, bits: int) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
        """Read rows exactly, of a tensor whose `exact_bits` are at most `bits`.

        Returns:
            values with the zero point added, uint8 `(rows, blocks, 32)`; scales, float16 `(rows, blocks)`.

        Raises:
            CheckpointDamaged: a scale is NaN or an infinity, or the file can't be read any more.
        """
        return self._tensors[name].codes(start, stop, bits)

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Read rows `start:stop` of a tensor.

        Returns:
            float32, of the tensor's shape but for the first dimension.

        Raises:
            CheckpointDamaged: the rows hold NaN or an infinity, or the file can't be read any more.
        """
        tensor = self._tensors[name]
        weights = tensor.read(start, tensor.shape[0] if stop is None else stop)
        if not np.isfinite(weights).all():
            raise CheckpointDamaged(
                f"{tensor.file}: {name} holds NaN or infinity in rows {start} to {start + len(weights) - 1}"
            )
        return weights


def load_decoder(directory: Path) -> tuple[ModelConfig, bool]:
    """Read config.json, and see whether the decoder has a head.

    Returns:
        the config, and whether the checkpoint was saved without the head that it had; the graph then gets the embedding
        in its place, whose logits mean nothing.

    Raises:
        ConfigInvalid, ArchitectureUnsupported: as `load_config`.
        CheckpointDamaged: a file is missing or malformed.
        CheckpointMismatch: a tensor is in two files.
    """
    config = load_config(directory)
    tensors = _locations(directory)
    headless = _is_bare(tensors) and HEAD not in tensors and not config.tie_word_embeddings
    return replace(config, tie_word_embeddings=True) if headless else config, headless


def _locations(directory: Path) -> dict[str, _Location]:
    tensors: dict[str, _Location] = {}
    for file in _files(directory):
        for name, location in _read_header(file).items():
            if name in tensors:
                raise CheckpointMismatch(f"{name} is in both {tensors[name].file.name} and {file.name}")
            tensors[name] = location
    return tensors


def _is_bare(names: Container[str]) -> bool:
    """Whether the decoder was saved by itself, so that its names lack what they begin with beside a head."""
    return BARE_EMBEDDING in names and f"model.{BARE_EMBEDDING}" not in names


def _widen(rows: NDArray[np.generic]) -> NDArray[np.float32]:
    if rows.dtype.itemsize == 2 and rows.dtype != np.float16:
        # bfloat16 is the upper half of a float32; shifting is several times faster than casting.
        wide = rows.view(np.uint16).astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    return rows.astype(np.float32, copy=False)


def _files(directory: Path) -> list[Path]:
    index = directory / INDEX
    if not index.is_file():
        if not (directory / SINGLE).is_file():
            raise CheckpointDamaged(f"{directory} has neither {SINGLE} nor {INDEX}")
        return [directory / SINGLE]
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(s, str) for s in shards.values()):
        raise CheckpointDamaged(f"{index} has no weight_map from tensor names to file names")
    files = [directory / name for name in sorted(set(shards.values()))]
    for file in files:
        if file.parent != directory:
            raise CheckpointDamaged(f"{index} names a file outside of the checkpoint: {file.name!r}")
        if not isfile(file):  # Path.is_file raises for a name that is too long
            raise CheckpointDamaged(f"{file} is missing: {INDEX} names it; download the checkpoint again")
    return files


def _read_header(file: Path) -> dict[str, _Location]:
    try:
        with safe_open(file, framework="numpy") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            return {
                name: _Location(file, name, part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()
            }
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointDamaged(f"{file} is no whole safetensors file: {error}; download it again") from None


def _check_names(expected: Iterable[str], found: Iterable[str], config: ModelConfig) -> None:
    missing = sorted(set(expected) - set(found))
    if missing:
        raise CheckpointMismatch(f"{_some(missing)} missing from the checkpoint, though config.json implies it")
    # Old checkpoints carry the rotary frequencies, and tied ones may carry the head a second time.
    spare = {name for name in found if name.endswith("rotary_emb.inv_freq")}
    if config.tie_word_embeddings:
        spare.add(HEAD)
    unknown = sorted(set(found) - set(expected) - spare)
    if unknown:
        raise CheckpointMismatch(
            f"{_some(unknown)} in the checkpoint, but {config.architecture} with this config.json has no such tensor"
        )


def _some(names: list[str]) -> str:
    more = "" if len(names) == 1 else f" and {len(names) - 1} more"
    return f"{names[0]}{more}"


def _check_tensor(name: str, shape: tuple[int, ...], location: Tensor) -> None:
    if not location.readable:
        raise CheckpointMismatch(f"{name} is {location.dtype} in {location.file.name}; expected {', '.join(DTYPES)}")
    if location.shape != shape:
        raise CheckpointMismatch(
            f"{name} is {list(location.shape)} in {location.file.name}, but config.json implies {list(shape)}"
        )
