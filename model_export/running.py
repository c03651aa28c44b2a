"""Running an artefact's graph with onnxruntime, to see what it computes."""

from __future__ import annotations

import os

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from model_export import artefact
from model_export.errors import ArtefactInvalid, KernelsUnusable
from model_export.library import library_path, obstacle
from model_export.reading import ReadArtefact

ERRORS_ONLY = 3
CACHE = "past_key_values."
DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int8)": np.int8}


def open_session(read: ReadArtefact) -> onnxruntime.InferenceSession:
    """Load the graph, with the native kernels if it needs them.

    Raises:
        KernelsUnusable: it needs them, and they can't be had here.
        ArtefactInvalid: onnxruntime refuses the graph.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY  # a default that may be overridden is meant so
    if read.description["kernels"] == "native":
        _register(options)
    try:
        graph = str(read.directory / artefact.GRAPH)
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes share no better base
        raise ArtefactInvalid(f"{read.directory / artefact.GRAPH} can't be loaded: {error}") from None


def _register(options: onnxruntime.SessionOptions) -> None:
    path = library_path(os.environ)
    reason = obstacle(path)
    try:
        if reason is None:
            options.register_custom_ops_library(str(path))
    except Exception as error:
        reason = f"{path} can't be registered ({error})"
    if reason:
        raise KernelsUnusable(f"the artefact needs native kernels: {reason}; or convert it with --kernels stock")


def empty_cache(session: onnxruntime.InferenceSession, batch: int, positions: int) -> dict[str, NDArray[np.generic]]:
    """Make a cache of zeros, and the slots in it if the graph takes any: input name → array.

    Args:
        session: of the graph.
        batch: sequences.
        positions: tokens of each.
    """
    sizes = {"batch": batch, "slots": batch, "max_sequence": positions}
    cache = {
        i.name: np.zeros([sizes.get(size, size) for size in i.shape], dtype=DTYPES[i.type])
        for i in session.get_inputs()
        if i.name.startswith(CACHE)
    }
    slots = {i.name: np.arange(batch, dtype=np.int32) for i in session.get_inputs() if i.name == "slots"}
    return {**cache, **slots}


def run_graph(read: ReadArtefact, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Run the artefact's graph over one sequence `(S,)`; gives the logits at every position, `(S, vocab_size)`.

    Raises:
        KernelsUnusable: it needs native kernels, and they can't be had here.
        ArtefactInvalid: onnxruntime refuses the graph.
    """
    session, length = open_session(read), len(ids)
    feeds = {
        "input_ids": ids[None, :],
        "seqlens_k": np.array([length - 1], dtype=np.int32),
        "total_sequence_length": np.array(length, dtype=np.int32),
        "logits_indices": np.arange(length, dtype=np.int64),
        **empty_cache(session, 1, length),
    }
    result: NDArray[np.float32] = session.run(["logits"], feeds)[0]
    return result
