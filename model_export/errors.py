"""Every error that a user of the exporter can cause: one class, one cause, exit code 2."""

from __future__ import annotations

from pathlib import Path


class ExportError(Exception):
    """A problem that the user can mend; the CLI prints it as one line and exits with `exit_code`."""

    exit_code = 2


class OptionInvalid(ExportError):
    """A command-line option has a value that can't work."""


class ModelNotFound(ExportError):
    """MODEL is neither a checkpoint directory nor a repository that the hub gives us."""


class ConfigInvalid(ExportError):
    """config.json is missing, isn't JSON, lacks a key, or holds a value of the wrong type or range."""


class ArchitectureUnsupported(ExportError):
    """The checkpoint asks for an architecture or a feature of one that the exporter doesn't build."""


class LibrariesMissing(ExportError):
    """`--builder optimum` in an environment without torch, transformers or optimum-onnx."""


class OptimumFailed(ExportError):
    """optimum can't export a model of an architecture that it says it knows."""


class GraphUnsupported(ExportError):
    """optimum's graph can't be served token by token, or computes something else than the model."""


class BuilderUnsupported(ExportError):
    """What was asked for needs an artefact that our own builder made, and optimum made this one."""


class PoolingUnsupported(ExportError):
    """The checkpoint makes vectors in a way that isn't built, or can do nothing else and nobody says how."""


class CheckpointDamaged(ExportError):
    """A weights file is missing, truncated, malformed, or holds values that are no weights (NaN, infinity)."""


class GgufUnsupported(ExportError):
    """A GGUF file has a version, a byte order or a type of tensor that can't be read."""


class WeightsNotKept(ExportError):
    """`--quantization keep` on a weight that our blocks can't hold exactly."""


class CheckpointMismatch(ExportError):
    """The tensors in the files contradict config.json: a missing, an unknown or a differently shaped one."""


class TokenizerInvalid(ExportError):
    """tokenizer.json is missing, unreadable, contradicts config.json, or its two forms disagree."""


class TokenizerUnsupported(ExportError):
    """A GGUF file's tokenizer is of a kind, or cuts text in a way, that we don't know."""


class QuantizationRange(ExportError):
    """A weight is too large for an f16 scale."""


class BudgetImpossible(ExportError):
    """No choice of 4 and 8 bits gives this model so many bits per weight."""


class CalibrationInvalid(ExportError):
    """The calibration text can't be read, or is too short."""


class PrefixRefused(ExportError):
    """A file of `--prefix` can't be a prefix, or the artefact can't be run here to compute it."""


class PrefixFailed(ExportError):
    """The process that computes prefixes ended otherwise than it should, such as for want of memory."""


class FormatsFailed(ExportError):
    """The process that tells a chat template's formats ended otherwise than it should."""


class OutputRefused(ExportError):
    """The output directory holds something other than an artefact, or isn't writable."""


class OutputBusy(ExportError):
    """Another export is writing the same output directory."""


class DiskFull(ExportError):
    """The disk has no room for the artefact."""

    def __init__(self, path: Path, needed: int | None = None, free: int | None = None) -> None:
        numbers = "" if needed is None else f": {needed / 1e6:,.0f} MB needed, {(free or 0) / 1e6:,.0f} MB free"
        super().__init__(f"no space left for {path}{numbers}; free some space or choose another --out")


class ArtefactInvalid(ExportError):
    """A directory given to inspect or verify isn't a whole artefact of a known format version."""


class KernelsUnusable(ExportError):
    """An artefact needs native kernels, and their library is missing or can't be loaded here."""


class VerificationFailed(ExportError):
    """The artefact is readable but isn't what it should be: a hash, a token or the logits differ."""
