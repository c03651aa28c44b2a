"""Writing an artefact directory: beside the old one, locked, then swapped in one step."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from model_export.errors import DiskFull, ExportError, OutputBusy, OutputRefused, PrefixFailed, PrefixRefused

FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)
DESCRIPTION = "firebrick.json"
MANIFEST = "manifest.json"
GRAPH = "model.onnx"
WEIGHTS = "model.safetensors"
FILES = frozenset({GRAPH, WEIGHTS, "tokenizer.json", "tokenizer.kit", "chat_template.jinja", DESCRIPTION, MANIFEST})
MENDED_OUTSIDE = (DiskFull, PrefixRefused, PrefixFailed)  # they leave what was calibrated as good as it was
PREFIX = re.compile(r"prefix-[1-9]\d{0,3}\.kv")
TOOLS = ("numpy", "onnx", "onnx-ir", "onnxruntime", "safetensors", "tokenizers", "kitoken")


def check_output(out: Path) -> None:
    """Refuse an output directory that isn't absent, empty, or an artefact.

    Raises:
        OutputRefused: it holds other files, is a file, or its parent can't be written.
    """
    try:
        taken = out.exists()
    except OSError as error:  # such as a name that is too long
        raise OutputRefused(f"--out {out}: {error.strerror}") from None
    if taken and not out.is_dir():
        raise OutputRefused(f"--out {out} is a file; give a directory")
    if out.is_dir():
        names = {entry.name for entry in out.iterdir()}
        others = {name for name in names - FILES if not PREFIX.fullmatch(name)}
        if names and (others or DESCRIPTION not in names):
            strange = sorted(others) or sorted(names)
            raise OutputRefused(f"--out {out} is not empty and no artefact (it holds {strange[0]!r}); choose another")
    parent = out.parent
    while not parent.exists():
        parent = parent.parent
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputRefused(f"--out {out}: {parent} is not writable")


@contextlib.contextmanager
def staging(out: Path) -> Iterator[Path]:
    """Give an empty directory beside `out` that takes its place when the block ends without an error.

    The staging directory has one name and is locked, so that the next export clears what a killed one left. When the
    artefact is in its place, or can't be made of this checkpoint with these options, `state_directory` goes too.

    Raises:
        OutputBusy: another export is writing to `out`.
        OutputRefused: the directory can't be made or swapped.
        DiskFull: no space left.
    """
    out = out.resolve()  # what a link points to is replaced, the link stays
    stage = out.parent / f".{out.name}.partial"
    try:
        stage.mkdir(parents=True, exist_ok=True)
        lock = os.open(stage, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise OutputRefused(f"--out {out}: {stage} can't be made: {error.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # It may have become the artefact of another export since it was opened.
            if not os.path.samestat(os.fstat(lock), os.stat(stage)):
                raise BlockingIOError
        except OSError:
            raise OutputBusy(f"another export is writing {out}; wait for it, or choose another --out") from None
        try:
            _clear(stage)
            _restore(out)
            yield stage
            _sync(stage)
            check_output(out)
            _swap(stage, out)
            shutil.rmtree(state_directory(out), ignore_errors=True)
        except ExportError as error:
            if not isinstance(error, MENDED_OUTSIDE):  # the next export would meet it again
                shutil.rmtree(state_directory(out), ignore_errors=True)
            raise
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(out) from None
            raise OutputRefused(f"--out {out} can't be written: {error}") from None
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    finally:
        os.close(lock)


def check_space(out: Path, needed: int) -> None:
    """Refuse to begin what can't end.

    Raises:
        DiskFull: fewer than `needed` bytes are free where `out` goes.
    """
    free = shutil.disk_usage(out).free
    if free < needed:
        raise DiskFull(out, needed, free)


def _clear(directory: Path) -> None:
    for entry in directory.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def _sync(directory: Path) -> None:
    for path in (*directory.iterdir(), directory):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def state_directory(out: Path) -> Path:
    """Where an export to `out` that is interrupted keeps what it has finished."""
    out = out.resolve()
    return out.parent / f".{out.name}.calibration"


def _aside(out: Path) -> Path:
    return out.parent / f".{out.name}.old"


def _restore(out: Path) -> None:
    """End a swap without an exchange that was killed between its steps."""
    if _aside(out).exists() and not out.exists():
        os.rename(_aside(out), out)
    shutil.rmtree(_aside(out), ignore_errors=True)


def _swap(stage: Path, out: Path) -> None:
    """Put `stage` in the place of `out` in one step; what was there is then in `stage`."""
    if not out.exists() or not any(out.iterdir()):
        os.rename(stage, out)  # replaces an empty directory too
        return
    if _exchange(stage, out):
        return
    # No exchange on this file system: the old artefact is whole at every moment, but has another name for one.
    os.rename(out, _aside(out))
    os.rename(stage, out)
    shutil.rmtree(_aside(out), ignore_errors=True)


def _exchange(a: Path, b: Path) -> bool:
    at_fdcwd, rename_exchange = -100, 2
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    return bool(renameat2(at_fdcwd, os.fsencode(a), at_fdcwd, os.fsencode(b), rename_exchange) == 0)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object for people and programs to read."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_manifest(directory: Path, known: Mapping[str, str]) -> None:
    """Write manifest.json over all files of the directory.

    Args:
        directory: a complete artefact but for the manifest, which may be an older one.
        known: sha256 of files that were hashed while they were written.
    """
    files = {
        path.name: {"sha256": known.get(path.name) or sha256(path), "size": path.stat().st_size}
        for path in sorted(directory.iterdir())
        if path.name != MANIFEST
    }
    tools = {tool: version(tool) for tool in TOOLS}
    write_json(directory / MANIFEST, {"format_version": FORMAT_VERSION, "files": files, "tools": tools})


def sha256(path: Path) -> str:
    """Hash a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
