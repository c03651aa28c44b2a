"""Shared libraries whose pages lie in another order, and which of them a process has touched.

A start touches a part of a library here and there, but a disk like Lambda's brings chunks of 512 KiB. With the touched
pages at the front of the file, they are few chunks. In memory all is where it was: a program header can say for each
page where in the file it lies, so the code isn't changed. Byte order and sizes are those of 64-bit ELF on x86-64 and
ARM (https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.pheader.html).
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

PAGE = 4096  # bytes
IDENT = b"\x7fELF\x02\x01\x01"  # 64 bits, little-endian, the only version
HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")
SHARED = 3  # e_type
LOAD, NOTE, TABLE = 1, 4, 6  # p_type
MOST_SEGMENTS = 0xFFFE
PRESENT = 1 << 63  # of an entry in /proc/PID/pagemap
ENTRY = 8  # bytes
MAPPED = 5  # a line of /proc/PID/maps has the file as its sixth field


class NotReorderable(Exception):
    """A file isn't a library of the form that is known here; it stays as it is."""


@dataclass(frozen=True)
class Segment:
    """A program header, its fields in the file's order; all but the first two are in bytes."""

    kind: int
    flags: int
    offset: int
    address: int
    physical: int
    nbytes: int
    memory: int
    align: int

    @property
    def pages(self) -> range:
        """The numbers of the pages that a loader maps from the file."""
        return range(self.address // PAGE, -(-(self.address + self.nbytes) // PAGE))


def segments_of(library: bytes) -> list[Segment]:
    """A library's program headers.

    Raises:
        NotReorderable: it is none, or one that can't be cut at any page.
    """
    if len(library) < HEADER.size or not library.startswith(IDENT):
        raise NotReorderable("no 64-bit little-endian ELF")
    _, kind, _, _, _, at, _, _, _, size, count, _, _, _ = HEADER.unpack_from(library)
    if kind != SHARED or size != SEGMENT.size or at + count * size > len(library):
        raise NotReorderable("no shared library")
    segments = [Segment(*SEGMENT.unpack_from(library, at + number * size)) for number in range(count)]
    loaded = [segment for segment in segments if segment.kind == LOAD]
    numbers = [page for segment in loaded for page in segment.pages]
    if not numbers or any((segment.address - segment.offset) % PAGE or not segment.nbytes for segment in loaded):
        raise NotReorderable("segments that no page of the file holds")
    if any(later <= page for page, later in pairwise(numbers)):
        raise NotReorderable("segments that share a page of memory, or aren't in order")
    return segments


def reorder(library: bytes, order: Sequence[int]) -> bytes:
    """Write a library's pages in another order; what a loader makes of it in memory is the same.

    Args:
        library: the file.
        order: all its pages by number, an address divided by `PAGE`, as they shall lie.

    Returns:
        the file, without what only debuggers read.

    Raises:
        NotReorderable: it can't be.
    """
    segments = segments_of(library)
    place = {page: number for number, page in enumerate(order)}
    runs = [run for segment in segments if segment.kind == LOAD for run in _runs(segment, place)]
    others = [segment for segment in segments if segment.kind not in (LOAD, TABLE)]
    count = len(runs) + len(others)
    if count > MOST_SEGMENTS:
        raise NotReorderable(f"{count} pieces")
    data = -(-(HEADER.size + count * SEGMENT.size) // PAGE) * PAGE
    table = [*(_moved(segment, place, data) for segment in others), *(_moved(run, place, data) for run in runs)]
    fields = list(HEADER.unpack_from(library))
    fields[5:7] = HEADER.size, 0  # where the program headers are; no section headers
    fields[10:] = count, 0, 0, 0
    head = HEADER.pack(*fields) + b"".join(SEGMENT.pack(*vars(segment).values()) for segment in table)
    source = {page: at for segment in segments if segment.kind == LOAD for page, at in _sources(segment)}
    body = (library[source[page] : source[page] + PAGE].ljust(PAGE, b"\0") for page in order)
    return head.ljust(data, b"\0") + b"".join(body)


def _sources(segment: Segment) -> Iterator[tuple[int, int]]:
    return ((page, segment.offset + page * PAGE - segment.address) for page in segment.pages)


def _runs(segment: Segment, place: dict[int, int]) -> Iterator[Segment]:
    """A segment in as many pieces as it has where it shall lie."""
    starts = [page for page in segment.pages if page == segment.pages[0] or place[page] != place[page - 1] + 1]
    for start, end in zip(starts, [*starts[1:], None], strict=True):
        address = start * PAGE
        full = ((end or 0) - start) * PAGE
        nbytes = segment.address + segment.nbytes - address if end is None else full
        memory = segment.address + segment.memory - address if end is None else full
        yield replace(segment, address=address, physical=address, nbytes=nbytes, memory=memory, align=PAGE)


def _moved(segment: Segment, place: dict[int, int], data: int) -> Segment:
    number = place.get(segment.address // PAGE)
    if number is None or not segment.nbytes:
        return segment
    return replace(segment, offset=data + number * PAGE + segment.address % PAGE)


def one_by_one(library: bytes) -> bytes:
    """The library with no two neighbours side by side, so that the kernel maps each page alone when it is touched.

    Otherwise it maps 16 at a time, and nobody can tell which of them was touched.
    """
    pages = _pages(segments_of(library))
    return reorder(library, pages[::2] + pages[1::2])


def front(library: bytes, touched: Collection[int]) -> tuple[bytes, int]:
    """Write the library with these pages first.

    Args:
        library: the file.
        touched: the pages' numbers.

    Returns:
        the file, and the length of its front in bytes.
    """
    segments = segments_of(library)
    pages = _pages(segments)
    # A loader reads notes from the file itself.
    noted = {page for segment in segments if segment.kind == NOTE for page in segment.pages}
    chosen = {*touched, *noted} & {*pages}
    written = reorder(library, [*sorted(chosen), *(page for page in pages if page not in chosen)])
    return written, len(written) - (len(pages) - len(chosen)) * PAGE


def _pages(segments: Sequence[Segment]) -> list[int]:
    return [page for segment in segments if segment.kind == LOAD for page in segment.pages]


def touched_pages(path: str, process: str = "self") -> set[int]:
    """The pages of a mapped library that a process has in its page tables.

    Raises:
        OSError: the kernel doesn't say.
    """
    with open(f"/proc/{process}/maps") as maps:
        fields = [line.rstrip("\n").split(None, MAPPED) for line in maps]
    spans = [line[0].split("-") for line in fields if len(line) > MAPPED and line[MAPPED] == path]
    areas = [(int(start, 16) // PAGE, int(end, 16) // PAGE) for start, end in spans]
    found: set[int] = set()
    with open(f"/proc/{process}/pagemap", "rb", buffering=0) as table:
        for start, end in areas:
            table.seek(start * ENTRY)
            entries = struct.unpack(f"<{end - start}Q", table.read((end - start) * ENTRY))
            found |= {start - areas[0][0] + number for number, entry in enumerate(entries) if entry & PRESENT}
    return found
