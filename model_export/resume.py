"""What an interrupted calibration has finished, kept beside the artefact until the export succeeds.

A directory `.NAME.calibration` holds one file a finished part, which is a decoder layer or the head, and the hidden
states after the last of them. Each file names the key of its export, which is a hash of everything that the result
depends on; zip's checksums tell a torn file. Whatever doesn't fit is thrown away, never repaired.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from model_export.artefact import sha256
from model_export.checkpoint import Checkpoint
from model_export.config import ModelConfig
from model_export.weights import Weight

STATE_VERSION = 4  # another for every change of what calibration computes
HIDDEN = "hidden.npz"

Tensors = Mapping[str, NDArray[np.generic]]


def state_key(config: ModelConfig, checkpoint: Checkpoint, weights: Sequence[Weight], ids: NDArray[np.int64]) -> str:
    """Hash all that a calibration's result depends on, the checkpoint's content included: hexadecimal."""
    parts = {
        "state": STATE_VERSION,
        "numpy": version("numpy"),
        "config": asdict(config),
        "weights": [(w.name, w.bits, w.block_size, w.rounding, w.lean) for w in weights],
        "files": [sha256(path) for path in checkpoint.paths],
        "text": [ids.shape, hashlib.sha256(ids.tobytes()).hexdigest()],
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class PartStore:
    """The state directory of one export."""

    def __init__(self, directory: Path, key: str) -> None:
        """Open it, empty unless a whole state with this key is there.

        Args:
            directory: from `model_export.artefact.state_directory`; nothing else may write to it.
            key: from `state_key`.

        Raises:
            OSError: it can't be written.
        """
        self._directory, self._key = directory, key
        self.finished = self._count()
        if not self.finished:
            self.remove()
            directory.mkdir()

    def _count(self) -> int:
        """Layers that are there and whole; 0 if any of them isn't."""
        newest = self._read(self._directory / HIDDEN)
        if newest is None or "parts" not in newest or "hidden" not in newest:
            return 0
        count = int(newest["parts"].item())
        return count if all(self._read(self._path(part)) is not None for part in range(count)) else 0

    def hidden(self) -> NDArray[np.float32]:
        """The hidden states after the last finished part."""
        with np.load(self._directory / HIDDEN, allow_pickle=False) as file:
            found: NDArray[np.float32] = file["hidden"]
        return found

    def tensors(self, part: int, names: Sequence[str]) -> Tensors:
        """Tensors of a finished part, by name."""
        with np.load(self._path(part), allow_pickle=False) as file:
            return {name: file[name] for name in names}

    def save(self, part: int, tensors: Tensors, hidden: NDArray[np.float32]) -> None:
        """Keep a part; the one before it is there already.

        Raises:
            OSError: the disk is full or fails.
        """
        self._write(self._path(part), tensors)
        self._write(self._directory / HIDDEN, {"hidden": hidden, "parts": np.array(part + 1)})
        self.finished = part + 1

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self._directory.iterdir())

    def remove(self) -> None:
        """Throw everything away."""
        if self._directory.is_dir() and not self._directory.is_symlink():
            shutil.rmtree(self._directory)
        else:
            self._directory.unlink(missing_ok=True)

    def _path(self, part: int) -> Path:
        return self._directory / f"part-{part}.npz"

    def _write(self, path: Path, arrays: Tensors) -> None:
        temporary = path.with_suffix(".partial")
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **{"key": np.array(self._key), **arrays})
        os.replace(temporary, path)

    def _read(self, path: Path) -> dict[str, NDArray[np.generic]] | None:
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError, KeyError, BadZipFile, AttributeError):
            return None
        key = arrays.pop("key", None)
        return arrays if key is not None and key.size == 1 and str(key.item()) == self._key else None
