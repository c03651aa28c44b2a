"""Which file lies where in an image: a file system's own answer, by FIEMAP."""

from __future__ import annotations

import fcntl
import os
import struct
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FIEMAP = 0xC020660B  # linux/fs.h: FS_IOC_FIEMAP
HEAD = struct.Struct("=QQLLLL")
EXTENT = struct.Struct("=QQQ16xL12x")
AT_A_TIME = 32
LAST = 1
KINDS = ("weights", "libraries", "byte code", "other")


@dataclass(frozen=True)
class Extent:
    """A part of a file, or all of it.

    Attributes:
        start: bytes from the start of the image.
        end: behind its last byte.
        path: as the container sees it.
    """

    start: int
    end: int
    path: str


class Layout:
    """Image offsets → files."""

    def __init__(self, extents: Iterable[Extent]) -> None:
        self._extents = sorted(extents, key=lambda extent: extent.start)
        self._starts = [extent.start for extent in self._extents]

    def path_at(self, offset: int) -> str | None:
        """The file that has this byte of the image; None for what describes the files, and for gaps."""
        number = bisect_right(self._starts, offset) - 1
        if number >= 0 and offset < self._extents[number].end:
            return self._extents[number].path
        return None

    def kind_at(self, offset: int) -> str:
        """What lies there, one of `KINDS`."""
        return kind_of(self.path_at(offset))


def kind_of(path: str | None) -> str:
    """What a file is: one of `KINDS`."""
    name = (path or "").rpartition("/")[2]
    if name == "model.safetensors":
        return "weights"
    if name.endswith((".pyc", ".bundle")):
        return "byte code"
    if ".so" in name or name.startswith(("python3", "ld-linux")):
        return "libraries"
    return "other"


def layout_of(root: Path) -> Layout:
    """Ask a mounted file system where its files lie.

    Raises:
        OSError: it doesn't say.
    """
    extents: list[Extent] = []
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory) / name
            if path.is_file() and not path.is_symlink():
                inside = "/" + str(path.relative_to(root))
                extents += [Extent(start, end, inside) for start, end in file_extents(path)]
    return Layout(extents)


def file_extents(path: Path) -> list[tuple[int, int]]:
    """Where a file's bytes lie on its device: start and end of each piece.

    Raises:
        OSError: the file system doesn't say.
    """
    found: list[tuple[int, int]] = []
    handle = os.open(path, os.O_RDONLY)
    try:
        logical, last = 0, os.fstat(handle).st_size == 0
        while not last:
            buffer = bytearray(HEAD.size + AT_A_TIME * EXTENT.size)
            HEAD.pack_into(buffer, 0, logical, 2**63, 0, 0, AT_A_TIME, 0)
            fcntl.ioctl(handle, FIEMAP, buffer)
            count = HEAD.unpack_from(buffer)[3]
            last = count == 0
            for number in range(count):
                at, physical, length, flags = EXTENT.unpack_from(buffer, HEAD.size + number * EXTENT.size)
                found.append((physical, physical + length))
                logical, last = at + length, bool(flags & LAST)
    finally:
        os.close(handle)
    return found
