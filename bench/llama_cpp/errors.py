"""Everything that can be missing or fail on the way to llama.cpp: one class, one cause."""

from __future__ import annotations

from model_export.errors import ExportError


class PeerError(ExportError):
    """llama.cpp can't be built or used; printed as one line, exit code 2."""


class SourceUnavailable(PeerError):
    """The sdist with llama.cpp's source can't be downloaded, or isn't the pinned one."""


class ToolMissing(PeerError):
    """A program that the build needs isn't installed."""

    def __init__(self, name: str, package: str) -> None:
        super().__init__(f"{name} is missing, which builds llama.cpp; on Debian: apt-get install {package}")


class BuildFailed(PeerError):
    """cmake or the compiler ended with an error."""


class NotBuilt(PeerError):
    """A program of llama.cpp is asked for in a variant that hasn't been built."""


class ReferenceMissing(PeerError):
    """The environment with torch and transformers, which llama.cpp's converter runs in, isn't there."""


class ConversionFailed(PeerError):
    """llama.cpp's converter or quantizer refused a checkpoint."""


class PreTokenizerUnknown(PeerError):
    """A tokenizer splits text in a way that llama.cpp has no name for, or none that we know."""


class RunFailed(PeerError):
    """A program of llama.cpp ended, or answered, with an error."""
