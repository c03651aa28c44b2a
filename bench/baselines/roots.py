"""A root file system with just what a program needs, at the paths that it has here: its image."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.baselines.programs import REPOSITORY, Program
from bench.cold_start.roots import LIBRARY_PATH

MOUNT_POINTS = ("proc", "dev", "tmp")
UNWANTED = {"test", "tests", "site-packages", "dist-packages"}


@contextmanager
def root_of(program: Program, work: Path) -> Iterator[Path]:
    """Put one together of hard links, where that can be, and take it away again."""
    root = work / "baseline"
    shutil.rmtree(root, ignore_errors=True)
    try:
        files = [*program.contents(), *_python(program)]
        libraries = linked([Path(program.command[0]), *(path for path in files if ".so" in path.suffixes)])
        for path in (*files, *libraries):
            _link(path, root / str(path)[1:])
        for name in (*MOUNT_POINTS, str(REPOSITORY)[1:]):
            (root / name).mkdir(parents=True, exist_ok=True)
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def size_of(root: Path) -> int:
    """Bytes of its files."""
    return sum(os.lstat(os.path.join(parent, name)).st_size for parent, _, names in os.walk(root) for name in names)


def _python(program: Program) -> list[Path]:
    """The interpreter that its environment has, and its standard library."""
    if program.python is None:
        return []
    real = Path(os.path.realpath(program.python))
    environment = program.python.parent.parent
    found = [program.python, real, environment / "pyvenv.cfg"]
    for parent, directories, names in os.walk(sysconfig.get_path("stdlib")):
        directories[:] = [name for name in directories if name not in UNWANTED and not name.startswith("config-")]
        found += [Path(parent) / name for name in names]
    return found


def linked(binaries: Sequence[Path]) -> set[Path]:
    """The libraries that these are linked with, by the system's loader."""
    done = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True)
    return {Path(os.path.normpath(path)) for path in LIBRARY_PATH.findall(done.stdout)}


def _link(source: Path, target: Path) -> None:
    if os.path.lexists(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        # An environment's interpreter, or a library under its short name: what it leads to lies at its own path.
        target.symlink_to(os.readlink(source))
        beside = Path(os.path.normpath(source.parent / os.readlink(source)))
        _link(beside, Path(str(target)[: -len(str(source))] + str(beside)))
        return
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
