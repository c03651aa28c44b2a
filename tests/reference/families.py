"""What transformers computes of every family's configurations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.checkpoint import write_checkpoint
from tests.families.checks import IDS, WANTED
from tests.reference.models import load, logits


def family_logits(config: Mapping[str, Any], checkpoint: Path) -> NDArray[np.float32]:
    """Logits at the wanted positions of a random checkpoint, which is written: `(wanted, vocab_size)`."""
    write_checkpoint(config, checkpoint)
    return logits(load(checkpoint), IDS)[WANTED]
