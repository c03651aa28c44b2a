"""sha256 for what is small, without OpenSSL: a start would read 8 MB of libraries for it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

LARGE = 4 << 20  # bytes; from here on OpenSSL's four to five times the speed is worth its libraries
BUILT_IN = ("_sha256", "_sha2", "hashlib")  # of Python 3.11, of later ones, and of those built without


def _find() -> Any:
    for name in BUILT_IN[:-1]:
        try:
            return import_module(name).sha256
        except ImportError:
            continue
    return import_module(BUILT_IN[-1]).sha256


_small = _find()


def sha256_of(content: bytes) -> str:
    """The hash of a few bytes, in hexadecimal."""
    digest: str = _small(content).hexdigest()
    return digest


def sha256_of_file(path: Path) -> str:
    """The hash of a file of any size, in hexadecimal.

    Raises:
        OSError: it can't be read.
    """
    if path.stat().st_size < LARGE:
        return sha256_of(path.read_bytes())
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
