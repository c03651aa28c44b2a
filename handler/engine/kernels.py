"""The library of native kernels: where it is, how a session gets it, and what it says of this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os.path import isfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handler.artefact import Artefact
from handler.errors import IsaUnavailable, KernelsMissing, KernelsUnusable

if TYPE_CHECKING:
    import ctypes

    import onnxruntime

NAME = "libfirebrick_kernels.so"


def given_library(environ: Mapping[str, str]) -> Path | None:
    """The library that `FIREBRICK_KERNELS` names, if it names one."""
    return Path(environ["FIREBRICK_KERNELS"]) if environ.get("FIREBRICK_KERNELS") else None


def library_path(given: Path | None) -> Path:
    """The given library, else the package's own."""
    return given or Path(__file__).parent.parent / NAME


def library_of(artefact: Artefact, given: Path | None) -> Path | None:
    """Find the library that an artefact needs.

    Args:
        artefact: from `handler.artefact.load_artefact`.
        given: another library than the package's own.

    Returns:
        its path; None if the artefact needs none.

    Raises:
        KernelsMissing: it isn't there.
    """
    if artefact.kernels != "native":
        return None
    path = library_path(given)
    if not isfile(path):
        raise KernelsMissing(path, artefact.told)
    return path


def register(options: onnxruntime.SessionOptions, path: Path) -> None:
    """Make the library's operators known to the sessions that get these options.

    Raises:
        IsaUnavailable: FIREBRICK_ISA names what the library doesn't know or this processor doesn't have.
        KernelsUnusable: it can't be loaded.
    """
    try:
        options.register_custom_ops_library(str(path))
    except Exception as error:  # onnxruntime's own classes share no better base
        text = (str(error).splitlines() or [type(error).__name__])[0]
        before, found, reason = text.partition("FIREBRICK_ISA")
        if found:
            raise IsaUnavailable(f"{found}{reason}: name one of these, or none for the best") from None
        raise _unusable(path, before) from None


def populate_function(path: Path) -> Callable[[int, int, int], None]:
    """The library's function that reads a mapped file ahead, of a file handle, an address and a length.

    Raises:
        KernelsUnusable: the library can't be loaded, or it is another one.
    """
    import ctypes

    function = _function(path, "firebrick_populate")
    function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    function.restype = None
    return function


@dataclass(frozen=True)
class Description:
    """What a library says of itself and of this machine.

    Attributes:
        version: its own.
        isa: the instructions that it would use; None if it can't be used.
        available: all that it could use, best first.
        forced: what FIREBRICK_ISA names.
        error: why it can't be used.
    """

    version: str
    isa: str | None
    available: tuple[str, ...]
    forced: str | None
    error: str | None


def describe(path: Path) -> Description:
    """Ask a library, without onnxruntime.

    Raises:
        KernelsUnusable: it can't be loaded, or it is another library.
    """
    import ctypes

    function = _function(path, "firebrick_describe")
    function.restype = ctypes.c_char_p
    try:
        said: dict[str, Any] = json.loads(function())
        return Description(said["version"], said["isa"], tuple(said["available"]), said["forced"], said["error"])
    except (ValueError, TypeError, KeyError) as error:
        raise _unusable(path, error) from None


def cheap_rows(path: Path) -> int:
    """How many rows a linear layer multiplies for little more than the time of one; docs/kernels.md has the measure.

    Raises:
        KernelsUnusable: the library can't be loaded, or it is another one.
    """
    return 8 if describe(path).isa in ("amx", "avx512") else 4


def _function(path: Path, name: str) -> ctypes._NamedFuncPointer:
    import ctypes

    try:
        return ctypes.CDLL(str(path))[name]
    except (OSError, AttributeError) as error:
        raise _unusable(path, error) from None


def _unusable(path: Path, reason: object) -> KernelsUnusable:
    return KernelsUnusable(f"{path} can't be loaded: {reason}; build it anew with `make setup`")
