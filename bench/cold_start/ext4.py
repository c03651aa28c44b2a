"""An ext4 as Lambda makes one of an image: layer after layer, file after file, each on the next free blocks.

Its makers say so ("On-demand Container Loading in AWS Lambda"): layers are unpacked one after another onto one ext4, by
an implementation that is serial and leaves nothing to chance. How theirs chooses blocks isn't public; this is how
e2fsprogs does.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bench.cold_start.disk import Unavailable, call

BLOCK = 4096  # bytes
ROOM, SPARE_BLOCKS = 1.02, 16_384  # for what describes the files


def in_order(root: Path, layers: Sequence[Path]) -> list[str]:
    """A root's files and directories in the order in which its layers bring them, by name within each.

    Args:
        root: all files together.
        layers: what each layer has, from the lowest up.

    Returns:
        paths below the root, a directory before what it holds. What no layer has lies with its directory.
    """
    lowest: dict[str, int] = {}
    highest: dict[str, int] = {}
    for number, layer in enumerate(layers):
        for path in _walk(layer):
            lowest.setdefault(path, number)
            highest[path] = number
    found: dict[str, int] = {}
    for path in _walk(root):
        is_directory = (root / path).is_dir() and not (root / path).is_symlink()
        found[path] = (lowest if is_directory else highest).get(path, found.get(os.path.dirname(path), len(layers)))
    return sorted(found, key=found.__getitem__)  # sorting is stable


def _walk(root: Path) -> Iterator[str]:
    for directory, names, files in os.walk(root):
        names.sort()
        below = os.path.relpath(directory, root)
        if below != ".":
            yield below
        links = (name for name in names if os.path.islink(os.path.join(directory, name)))
        yield from (os.path.normpath(os.path.join(below, name)) for name in sorted([*files, *links]))


def make(root: Path, image: Path, layers: Sequence[Path] = ()) -> None:
    """Write a root file system as an ext4, with modes and times of its files.

    Args:
        root: the files.
        image: what is written.
        layers: in whose order; none means by name.

    Raises:
        Unavailable: it can't be written.
    """
    paths = in_order(root, layers)
    blocks = sum(os.lstat(root / path).st_size // BLOCK + 1 for path in paths)
    options = ["-q", "-F", "-t", "ext4", "-b", str(BLOCK), "-m", "0", "-N", str(2 * len(paths)), "-O", "^has_journal"]
    call("mke2fs", *options, str(image), str(round(blocks * ROOM) + SPARE_BLOCKS))
    done = subprocess.run(
        ["debugfs", "-w", "-f", "-", str(image)], input="".join(_script(root, paths)), capture_output=True, text=True
    )
    told = [line for line in done.stderr.splitlines() if line and not line.startswith("debugfs 1")]
    if done.returncode or told:
        raise Unavailable(f"debugfs fails: {told[:1] or done.returncode}")


def _script(root: Path, paths: Iterable[str]) -> Iterator[str]:
    """Commands of debugfs; names are told from within their directory, since it takes /x as x there."""
    yield f"sif / mode 0{os.lstat(root).st_mode:o}\n"
    for path in paths:
        state = os.lstat(root / path)
        parent, name = os.path.split(path)
        yield f'cd "/{parent}"\n'
        if stat.S_ISLNK(state.st_mode):
            yield f'symlink "{name}" "{os.readlink(root / path)}"\n'
            continue
        if stat.S_ISDIR(state.st_mode):
            yield f'mkdir "{name}"\n'
        elif stat.S_ISREG(state.st_mode):
            yield f'write "{root / path}" "{name}"\n'
        else:
            continue  # a device: /dev is mounted over it
        yield f'sif "{name}" mode 0{state.st_mode:o}\nsif "{name}" mtime @{int(state.st_mtime)}\n'
