"""The pages of another process: which are there, which it uses, and putting those of files out of memory."""

from __future__ import annotations

import ctypes
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.cold_start.disk import Unavailable
from bench.cold_start.profiles import CHUNK

PAGE = os.sysconf("SC_PAGE_SIZE")
ENTRY = 8  # bytes, of /proc/PID/pagemap
PRESENT, OF_A_FILE = 1 << 63, 1 << 61
CLEAR_REFERENCED = "1"
MADV_PAGEOUT = 21
PROCESS_MADVISE = 440  # the system call has no function in most C libraries
FIELD = re.compile(r"^(\w+):\s+(\d+) kB$")


@dataclass(frozen=True)
class Area:
    """A mapping of a file: addresses, where it begins in the file, and its path as this process sees it."""

    start: int
    end: int
    offset: int
    path: str


def file_areas(pid: int, root: Path) -> list[Area]:
    """The mappings of files below a root.

    Args:
        pid: of the process.
        root: of the file system that counts.
    """
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and fields[5].startswith(f"{root}/"):
            start, end = (int(part, 16) for part in fields[0].split("-"))
            found.append(Area(start, end, int(fields[2], 16), fields[5]))
    return found


def present_chunks(pid: int, areas: list[Area]) -> dict[str, list[int]]:
    """What the page tables have of files: path → numbers of the 512 KiB pieces, in the file's order."""
    chunks: dict[str, set[int]] = {}
    for area, number in _present(pid, areas):
        chunks.setdefault(area.path, set()).add((area.offset + number * PAGE) // CHUNK)
    return {path: sorted(numbers) for path, numbers in chunks.items()}


def present_bytes(pid: int, areas: list[Area]) -> int:
    """Bytes of files in the page tables."""
    return sum(PAGE for _ in _present(pid, areas))


def _present(pid: int, areas: list[Area]) -> Iterator[tuple[Area, int]]:
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as table:
        for area in areas:
            table.seek(area.start // PAGE * ENTRY)
            count = (area.end - area.start) // PAGE
            entries = struct.unpack(f"={count}Q", table.read(count * ENTRY))
            wanted = PRESENT | OF_A_FILE
            yield from ((area, number) for number, entry in enumerate(entries) if entry & wanted == wanted)


def clear_referenced(pid: int) -> None:
    """Begin to note anew which pages a process uses."""
    Path(f"/proc/{pid}/clear_refs").write_text(CLEAR_REFERENCED)


def referenced_bytes(pid: int) -> tuple[int, int]:
    """What was used since then: bytes of files, and of all other memory, changed copies of files' pages among it."""
    of_files = others = 0
    with open(f"/proc/{pid}/smaps") as smaps:
        sizes: dict[str, int] = {}
        for line in smaps:
            if field := FIELD.match(line):
                sizes[field[1]] = int(field[2]) * 1024
                if field[1] == "LazyFree":  # comes after those that matter
                    other = min(sizes["Anonymous"], sizes["Referenced"])
                    others += other
                    of_files += sizes["Referenced"] - other
    return of_files, others


def evict(pid: int, areas: list[Area]) -> None:
    """Put the pages of files out of a process's memory and out of the page cache.

    Raises:
        Unavailable: the kernel refuses.
    """
    handle = os.pidfd_open(pid)
    try:
        for area in areas:
            _page_out(handle, area)
    finally:
        os.close(handle)
    for path in {area.path for area in areas}:
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def _page_out(handle: int, area: Area) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    at = area.start
    while at < area.end:
        vector = struct.pack("=QQ", at, area.end - at)
        done = libc.syscall(PROCESS_MADVISE, handle, ctypes.c_char_p(vector), ctypes.c_size_t(1), MADV_PAGEOUT, 0)
        if done <= 0:
            raise Unavailable(f"{area.path} can't be put out of memory: {os.strerror(ctypes.get_errno())}")
        at += done
