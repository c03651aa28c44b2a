"""What an adapted graph computes, step by step over its cache, against transformers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from model_export.errors import GraphUnsupported
from model_export.running import ERRORS_ONLY, empty_cache

POSITIONS = 48  # tokens of the probe
STEPS = (17, 1, 1, 13, 1)  # new tokens of a step, in turns: a prompt, an answer, a prompt that goes on


def probe(vocab_size: int, context: int) -> NDArray[np.int64]:
    """A fixed random sequence of token ids `(S,)`."""
    return np.random.default_rng(0).integers(0, vocab_size, min(POSITIONS, context), dtype=np.int64)


def expected_logits(model: Any, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """transformers' logits at every position, `(S, vocab_size)`."""
    import torch

    with torch.no_grad():
        result: NDArray[np.float32] = model(torch.from_numpy(ids)[None, :]).logits[0].float().numpy()
    return result


def logits_by_steps(graph: Path, ids: NDArray[np.int64], context: int) -> NDArray[np.float32]:
    """The graph's logits at every position, `(S, vocab_size)`, computed as the handler does.

    Raises:
        GraphUnsupported: onnxruntime refuses the graph, or to run it.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        return np.concatenate(list(_steps(session, ids, context)))
    except Exception as error:  # onnxruntime's own classes share no better base
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise GraphUnsupported(f"onnxruntime can't run optimum's graph: {line}") from None


def _steps(
    session: onnxruntime.InferenceSession, ids: NDArray[np.int64], context: int
) -> Iterator[NDArray[np.float32]]:
    cache = empty_cache(session, 1, context)
    outputs = [output.name for output in session.get_outputs()]
    start = number = 0
    while start < len(ids):
        new = ids[start : start + STEPS[number % len(STEPS)]]
        start, number = start + len(new), number + 1
        feeds = {
            "input_ids": new[None, :],
            "seqlens_k": np.array([start - 1], dtype=np.int32),
            "total_sequence_length": np.array(start, dtype=np.int32),
            "logits_indices": np.arange(len(new), dtype=np.int64),
            **cache,
        }
        logits, *presents = session.run(outputs, feeds)
        cache = dict(zip(cache, presents, strict=True))
        yield logits
