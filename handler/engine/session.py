"""The onnxruntime session and its options; docs/performance.md has the measurement behind each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnxruntime

from handler.artefact import WEIGHTS
from handler.engine.kernels import register
from handler.engine.weights import Weights
from handler.errors import ArtefactDamaged


@dataclass(frozen=True)
class SessionOptions:
    """What onnxruntime lets one choose and what matters here; `bench.session` measures each against its opposite."""

    optimization: Literal["disabled", "basic", "extended", "all"] = "all"  # the graph comes fused: little is left to do
    spinning: bool = True  # threads wait actively between operators; sleeping costs a wake-up each
    spin_us: int = 1000  # microseconds, longer than any gap between operators; the default burns 40 ms after each run
    memory_arena: bool = True  # activations come from an arena that is kept; without, every step asks the system
    memory_pattern: bool = True  # activations of a repeated shape are planned once
    denormal_as_zero: bool = False  # it would change the calling thread's arithmetic for everybody else in the process


LEVELS = {
    "disabled": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
ERRORS_ONLY = 3
EMPTY = Path(__file__).with_name("held")  # has a file called as the weights, with nothing in it


def create_session(
    path: Path,
    threads: int,
    chosen: SessionOptions | None = None,
    library: Path | None = None,
    weights: Weights | None = None,
    held: bool = False,
) -> onnxruntime.InferenceSession:
    """Load the graph and its weights.

    Args:
        path: model.onnx, its weights beside it.
        threads: of one operator; operators follow one another.
        chosen: other options than the defaults.
        library: of the native kernels, from `handler.engine.kernels.library_of`; None for a graph that needs none.
        weights: mapped already, and outliving the session; None to let onnxruntime map them.
        held: whether graph and weights are files in memory, which have no directory; then weights must be given.

    Raises:
        KernelsUnusable: the library can't be loaded.
        IsaUnavailable: FIREBRICK_ISA names what this processor doesn't have.
        ArtefactDamaged: onnxruntime refuses the graph.
    """
    chosen = chosen or SessionOptions()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = LEVELS[chosen.optimization]
    options.enable_cpu_mem_arena = chosen.memory_arena
    options.enable_mem_pattern = chosen.memory_pattern
    options.log_severity_level = ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(chosen.spinning)))
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(chosen.spin_us))
    options.add_session_config_entry("session.set_denormal_as_zero", str(int(chosen.denormal_as_zero)))
    if library is not None:
        register(options, library)
    graph: str | bytes = str(path)
    if held and weights:
        graph = path.read_bytes()
        _show(options, weights, library)
    values = _values(weights) if weights and (library or not held) else {}
    for name, value in values.items():
        options.add_initializer(name, value)
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes share no better base
        lines = str(error).splitlines() or [type(error).__name__]
        raise ArtefactDamaged(f"{path} can't be loaded: {lines[0]}; export the model again") from None


def _show(options: onnxruntime.SessionOptions, weights: Weights, library: Path | None) -> None:
    """Tell where the file is that a graph says its weights are in, if both are in memory."""
    if library is None:
        # What stock operators read is copied from it, and packed.
        options.add_external_initializers_from_files_in_memory([WEIGHTS], [weights.content], [weights.nbytes])
    else:
        # All weights are given as values, so nothing is read: but without such a file, onnxruntime refuses the graph.
        # Shown the one in memory, it would copy all of it first.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(EMPTY))


def _values(weights: Weights) -> dict[str, onnxruntime.OrtValue]:
    """Tensors in the mapping as onnxruntime's values, without a copy."""
    return {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in weights.arrays().items()}
