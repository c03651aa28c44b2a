"""A GGUF model in one file or in several, `NAME-00001-of-00003.gguf` and so on, and its tensors' values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from model_export.errors import CheckpointDamaged, CheckpointMismatch
from model_export.gguf.header import Header, TensorInfo, read_header

SPLIT = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
SPLITS_MAX = 1000


@dataclass(frozen=True)
class Placed:
    """A tensor and the file that it is in."""

    file: Path
    info: TensorInfo

    def blocks(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Read rows as they are stored: uint8 `(rows, bytes of a row)`.

        Raises:
            CheckpointDamaged: the file can't be read any more.
        """
        width = self.info.nbytes // self.info.shape[0]
        try:
            with self.file.open("rb") as file:
                file.seek(self.info.offset + start * width)
                content = file.read((stop - start) * width)
        except OSError as error:
            raise CheckpointDamaged(f"{self.file}: {self.info.name} can't be read: {error.strerror}") from None
        if len(content) < (stop - start) * width:
            raise CheckpointDamaged(f"{self.file}: {self.info.name} can't be read: the file was cut")
        return np.frombuffer(content, dtype=np.uint8).reshape(stop - start, width)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Read rows as numbers, float32; raises as `blocks`."""
        if len(self.info.shape) == 1:  # elements are its rows, but a block may hold several
            whole = Placed(self.file, replace(self.info, shape=(1, *self.info.shape)))
            return whole.read(0, 1)[0, start:stop]
        return dequantize(self.blocks(start, stop), self.info.type.name)


def dequantize(blocks: NDArray[np.uint8], kind: str) -> NDArray[np.float32]:
    """Turn stored rows `(rows, bytes)` of a ggml type into float32 `(rows, weights)`."""
    if kind == "F32":
        return blocks.view("<f4").astype(np.float32, copy=False)
    if kind == "F16":
        return blocks.view("<f2").astype(np.float32)
    if kind == "BF16":
        return (blocks.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)
    from gguf import GGMLQuantizationType  # half a second that other checkpoints needn't pay
    from gguf.quants import dequantize as by_gguf

    with np.errstate(all="ignore"):  # what isn't finite is found by whoever asked
        values: NDArray[np.float32] = by_gguf(blocks, GGMLQuantizationType[kind])
    return values


@dataclass(frozen=True)
class GgufModel:
    """All files of a model.

    Attributes:
        path: the first file.
        name: its name without the ending.
        metadata: of the first file.
        tensors: of all files, by name.
    """

    path: Path
    name: str
    metadata: Mapping[str, Any]
    tensors: Mapping[str, Placed]


P = TypeVar("P", Path, PurePosixPath)


def shard_paths(path: P) -> tuple[str, list[P]]:
    """A model's name and files, by the name of any of its files."""
    match = SPLIT.fullmatch(path.name)
    if match is None:
        return path.stem, [path]
    count = int(match["count"])
    if not 1 <= int(match["number"]) <= count <= SPLITS_MAX:
        raise CheckpointDamaged(f"{path} is part {int(match['number'])} of {count} by its name, which can't be")
    names = [f"{match['stem']}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]
    return match["stem"], [path.with_name(name) for name in names]


def open_model(path: Path) -> GgufModel:
    """Read the headers of a model's files.

    Args:
        path: the file, or any of several.

    Raises:
        CheckpointDamaged: one is missing, damaged, or no part of this model.
        CheckpointMismatch: a tensor is in two files.
        GgufUnsupported: see `model_export.gguf.header.read_header`.
    """
    name, paths = shard_paths(path)
    for part in paths:
        if not part.is_file():
            raise CheckpointDamaged(f"{part} is missing: {path.name} is one of {len(paths)} parts; download them all")
    headers = [read_header(part) for part in paths]
    for number, header in enumerate(headers):
        _check_split(header, number, len(paths))
    tensors: dict[str, Placed] = {}
    for header in headers:
        for info in header.tensors.values():
            if info.name in tensors:
                first = tensors[info.name].file.name
                raise CheckpointMismatch(f"{info.name} is in both {first} and {header.path.name}")
            tensors[info.name] = Placed(header.path, info)
    total = headers[0].metadata.get("split.tensors.count", len(tensors))
    if len(paths) > 1 and total != len(tensors):
        raise CheckpointDamaged(
            f"{paths[0]} announces {total} tensors in {len(paths)} parts, which have {len(tensors)}"
        )
    return GgufModel(paths[0], name, headers[0].metadata, tensors)


def _check_split(header: Header, number: int, count: int) -> None:
    """Hold what a file says of itself against its name."""
    says = header.metadata.get("split.no", 0), header.metadata.get("split.count", 1) or 1
    if says != (number, count):
        raise CheckpointDamaged(
            f"{header.path} is part {number} of {count} by its name, counted from 0, and part {says[0]} of {says[1]} "
            f"by what is in it: give it back the name that it was published with"
        )
