"""What the golden files hold, and how an artefact's logits are had to compare with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handler.artefact import load_artefact
from handler.engine.engine import Engine, EngineOptions
from model_export.export import export
from model_export.options import ExportOptions
from model_export.source import Source

GOLDEN = Path(__file__).parent / "golden" / "logits.npz"
LENGTHS = (1, 2, 3, 17, 64, 129, 300)  # prompts whose last logits are recorded
LONG = 8_230  # and one beyond the length that llama3's rope scaling starts from
FLOAT = ExportOptions(quantization="none")
EXACT_INT4 = ExportOptions(activations="float32", rounding="nearest")
FAST_INT4 = ExportOptions(rounding="nearest", scale_bits=16)


def sequence(vocab_size: int, length: int) -> NDArray[np.int64]:
    """The token ids that every golden sequence begins with, `(length,)`."""
    return np.random.default_rng(0).integers(0, vocab_size, LONG, dtype=np.int64)[:length]


def lengths(context_length: int) -> list[int]:
    """The recorded prompt lengths that a model can hold."""
    return [length for length in (*LENGTHS, LONG) if length < context_length]


class LastLogits(Engine):
    """The real engine, its prefill exposed."""

    def last_logits(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits after a prompt `(S,)`, run in chunks: `(vocab_size,)`."""
        chunk = self.options.prefill_chunk
        for start in range(0, len(ids), chunk):
            part = ids[None, start : start + chunk]
            logits: NDArray[np.float32] = self.steps.run([0], part, [start], [part.shape[1] - 1])
        return np.array(logits[0])


def engine(checkpoint: Path, out: Path, options: ExportOptions, prefill_chunk: int = 256) -> LastLogits:
    """Export a checkpoint and load it."""
    export(Source(checkpoint, checkpoint.name, None), out, options)
    loaded = LastLogits.load(load_artefact(out, "quick"), 2, EngineOptions(prefill_chunk))
    assert isinstance(loaded, LastLogits)
    return loaded


def relative_error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest difference over the largest expected logit."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())
