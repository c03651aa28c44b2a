"""What these tests need more than once: exports, damaged files, and the graph run by hand."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_export import reference
from model_export.checkpoint import Checkpoint, load_decoder
from model_export.config import ModelConfig, load_config
from model_export.export import export
from model_export.options import ExportOptions
from model_export.reading import ReadArtefact, read_artefact
from model_export.running import empty_cache, open_session
from model_export.source import Source
from model_export.stored import StoredWeights
from model_export.weights import plan


def export_to(checkpoint: Path, out: Path, **options: Any) -> Path:
    """Export a directory and give the artefact's."""
    export(Source(checkpoint, checkpoint.name, None), out, ExportOptions(**options))
    return out


def tree(directory: Path) -> dict[str, bytes]:
    """Every file's content by name."""
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def edit_json(path: Path, **changes: Any) -> None:
    """Change keys of a JSON object; `...` removes one."""
    value = json.loads(path.read_text()) if path.exists() else {}
    value = {k: v for k, v in {**value, **changes}.items() if v is not ...}
    path.write_text(json.dumps(value))


def read_safetensors(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and data of a safetensors file."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def write_safetensors(path: Path, header: dict[str, Any], data: bytes) -> None:
    """Write a safetensors file, right or wrong."""
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def flip_byte(path: Path, position: int) -> None:
    """Invert the lowest bit of one byte."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def some_ids(count: int, vocab_size: int, seed: int = 0) -> NDArray[np.int64]:
    """Random token ids, `(count,)`."""
    return np.random.default_rng(seed).integers(0, vocab_size, count, dtype=np.int64)


def checkpoint_logits(directory: Path, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """What plain numpy computes from a checkpoint, `(S, vocab_size)`."""
    config = load_config(directory)
    return reference.logits(config, checkpoint_lookup(directory, config), ids)


def checkpoint_lookup(directory: Path, config: ModelConfig) -> reference.Lookup:
    """What gives a checkpoint's weights to the plain computation."""
    weights = {w.name: w for w in plan(config, ExportOptions("none"), Checkpoint.open(directory, config))}

    def lookup(name: str) -> NDArray[np.float32] | None:
        return weights[name].rows.read(0, weights[name].rows.shape[0]) if name in weights else None

    return lookup


def checkpoint_states(directory: Path, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Hidden states that plain numpy computes from a checkpoint, `(S, hidden_size)`."""
    config, _ = load_decoder(directory)
    return reference.hidden_states(config, checkpoint_lookup(directory, config), ids)


def artefact_states(artefact: Path, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Hidden states that plain numpy computes from an artefact's own weights, `(S, hidden_size)`."""
    read = read_artefact(artefact)
    stored = StoredWeights(read)

    def lookup(name: str) -> NDArray[np.float32] | None:
        return stored.weight(name) if name in stored.planned else None

    return reference.hidden_states(read.config, lookup, ids)


def artefact_logits(checkpoint: Path, artefact: Path, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """What plain numpy computes from an artefact's own, perhaps dequantized, weights, `(S, vocab_size)`."""
    stored = StoredWeights(read_artefact(artefact))

    def lookup(name: str) -> NDArray[np.float32] | None:
        return stored.weight(name) if name in stored.planned else None

    return reference.logits(load_config(checkpoint), lookup, ids)


class Graph:
    """A graph with a cache that its runs continue, any number of sequences at a time."""

    def __init__(self, artefact: Path, batch: int = 1, positions: int = 64) -> None:
        self.read: ReadArtefact = read_artefact(artefact)
        self.session = open_session(self.read)
        self.cache: dict[str, NDArray[Any]] = dict(empty_cache(self.session, batch, positions))

    def run(
        self, ids: NDArray[np.int64], lengths: Sequence[int], wanted: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        """Append `ids (B, S)`, after which the sequences have these lengths; gives logits `(P, vocab_size)`."""
        return self._run(ids, lengths, range(ids.size) if wanted is None else wanted, {})["logits"]

    def states(self, ids: NDArray[np.int64], lengths: Sequence[int], wanted: Sequence[int]) -> NDArray[np.float32]:
        """The same without logits; gives hidden states `(Q, hidden_size)`."""
        indices = {"hidden_indices": np.array(wanted, dtype=np.int64)}
        return self._run(ids, lengths, (), indices)["hidden_states"]

    def _run(
        self, ids: NDArray[np.int64], lengths: Sequence[int], wanted: Sequence[int], others: dict[str, NDArray[Any]]
    ) -> dict[str, NDArray[np.float32]]:
        feeds = {
            "input_ids": ids,
            "seqlens_k": np.array(lengths, dtype=np.int32) - np.int32(1),
            "total_sequence_length": np.array(max(lengths), dtype=np.int32),
            "logits_indices": np.array(wanted, dtype=np.int64),
            **self.cache,
            **others,
        }
        outputs = dict(zip([o.name for o in self.session.get_outputs()], self.session.run(None, feeds), strict=True))
        for name in self.cache.keys() - {"slots"}:
            self.cache[name] = outputs[name.replace("past_key_values", "present")]
        return outputs


def difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest difference over the largest expected value."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())
