"""The onnxruntime session: one table of options, each with its reason; docs/performance.md has the measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime

from handler.errors import ArtefactDamaged

# (key, value, why)
CONFIG_ENTRIES = (
    ("session.intra_op.allow_spinning", "1", "threads of one step wait for each other for microseconds"),
    ("session.set_denormal_as_zero", "1", "denormal activations are slow and mean nothing"),
)


def create_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Load the graph and its weights.

    Args:
        path: model.onnx, its weights beside it.
        threads: of one operator.

    Raises:
        ArtefactDamaged: onnxruntime refuses the graph.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    for key, value, _ in CONFIG_ENTRIES:
        options.add_session_config_entry(key, value)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes share no better base
        raise ArtefactDamaged(f"{path} can't be loaded: {_first_line(error)}; export the model again") from None


def _first_line(error: Exception) -> Any:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
