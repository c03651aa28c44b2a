"""`make record`: compute tests/golden/logits.npz and families.npz with transformers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.checkpoint import write_checkpoint
from model_export.export import export
from model_export.source import Source
from tests.configs import CONFIGS
from tests.families.checks import GOLDEN as FAMILIES_GOLDEN
from tests.families.every import CONFIGS as FAMILIES
from tests.golden_cases import EXACT_INT4, GOLDEN, lengths, sequence
from tests.reference.families import family_logits
from tests.reference.models import last_logits, load, load_with_artefact_weights


def compute(directory: Path) -> dict[str, NDArray[np.float32]]:
    """Give the last logits of every recorded prompt: "float/NAME" and "int4/NAME" → `(prompts, vocab_size)`."""
    recorded = {}
    for name, config in CONFIGS.items():
        checkpoint, artefact = directory / name, directory / f"{name}-int4"
        write_checkpoint(config, checkpoint)
        export(Source(checkpoint, name, None), artefact, EXACT_INT4)
        models = {"float": load(checkpoint), "int4": load_with_artefact_weights(checkpoint, artefact)}
        for kind, model in models.items():
            # The int4 artefact has the default context, which the longest prompt doesn't fit.
            context = (
                config["max_position_embeddings"] if kind == "float" else min(config["max_position_embeddings"], 8192)
            )
            prompts = [sequence(config["vocab_size"], length) for length in lengths(context)]
            recorded[f"{kind}/{name}"] = np.stack([last_logits(model, ids) for ids in prompts])
    return recorded


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as work:
        np.savez_compressed(GOLDEN, **compute(Path(work)))
        families = {name: family_logits(config, Path(work) / f"family-{name}") for name, config in FAMILIES.items()}
        np.savez_compressed(FAMILIES_GOLDEN, **families)
    for path in (GOLDEN, FAMILIES_GOLDEN):
        print(f"{path}: {path.stat().st_size:,} bytes")
