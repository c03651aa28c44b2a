"""The library of native kernels: where it is, and whether this machine can load it."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Mapping
from os.path import isfile
from pathlib import Path

from model_export.options import Kernels, native_obstacle

NAME = "libfirebrick_kernels.so"


def library_path(environ: Mapping[str, str]) -> Path:
    """`FIREBRICK_KERNELS`, else the one that `make setup` puts beside the handler."""
    return Path(environ.get("FIREBRICK_KERNELS") or Path(__file__).parent.parent / "handler" / NAME)


def obstacle(path: Path) -> str | None:
    """Say why a library can't be used on this machine; None if it can."""
    if not isfile(path):
        return f"{path} is missing (make setup builds it where there is cargo)"
    try:
        describe = ctypes.CDLL(str(path)).firebrick_describe
        describe.restype = ctypes.c_char_p
        described = json.loads(describe())
    except (OSError, AttributeError, ValueError, TypeError) as error:
        return f"{path} can't be loaded ({error})"
    return str(described["error"]) if described.get("error") else None


def default_kernels(
    quantization: str, block_size: int, activations: str, environ: Mapping[str, str]
) -> tuple[Kernels, str | None]:
    """Choose native kernels where they can be used.

    Args:
        quantization: as for `model_export.options.ExportOptions`.
        block_size: likewise.
        activations: likewise.
        environ: the environment.

    Returns:
        the kernels, and for stock ones the reason.
    """
    reason = native_obstacle(quantization, block_size, activations)
    if reason:
        return "stock", f"the native ones don't go with {reason}"
    reason = obstacle(library_path(environ))
    return ("stock", reason) if reason else ("native", None)
