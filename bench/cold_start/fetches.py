"""What the lazy disk fetched: its log, and what follows from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.cold_start.extents import KINDS, Layout
from bench.cold_start.profiles import CHUNK


@dataclass(frozen=True)
class Fetch:
    """One chunk.

    Attributes:
        begin: when it was touched first, nanoseconds of the monotonic clock.
        end: when it was here.
        chunk: its number.
        offset: bytes from the image's start, of the read that touched it.
        in_flight: chunks on their way then, this one among them.
    """

    begin: int
    end: int
    chunk: int
    offset: int
    in_flight: int


@dataclass(frozen=True)
class Amount:
    """Chunks of a kind, and their bytes."""

    chunks: int
    nbytes: int


def read_log(path: Path) -> list[Fetch]:
    """The log of `lazydisk`, in the order of the touches."""
    lines = path.read_text().splitlines()
    return sorted((Fetch(*map(int, line.split())) for line in lines), key=lambda fetch: fetch.begin)


def by_kind(fetches: Iterable[Fetch], layout: Layout) -> dict[str, Amount]:
    """What was fetched, by the file that was read when a chunk was touched."""
    counts = dict.fromkeys(KINDS, 0)
    for fetch in fetches:
        counts[layout.kind_at(fetch.offset)] += 1
    return {kind: Amount(count, count * CHUNK) for kind, count in counts.items()}


def by_file(fetches: Iterable[Fetch], layout: Layout) -> dict[str, Amount]:
    """The same by file, the most first; what describes files, and what lies between them, has no name."""
    counts = Counter(layout.path_at(fetch.offset) or "" for fetch in fetches)
    return {path: Amount(count, count * CHUNK) for path, count in counts.most_common()}


def mean_in_flight(fetches: Sequence[Fetch]) -> float:
    """Chunks on their way at a time, on the average of the time from the first touch to the last arrival."""
    if not fetches:
        return 0.0
    span = max(fetch.end for fetch in fetches) - min(fetch.begin for fetch in fetches)
    return sum(fetch.end - fetch.begin for fetch in fetches) / max(span, 1)


def in_flight_over_time(fetches: Sequence[Fetch]) -> list[tuple[int, int]]:
    """Steps: a time, and how many are on their way from then on."""
    changes = sorted([(fetch.begin, 1) for fetch in fetches] + [(fetch.end, -1) for fetch in fetches])
    steps, now = [], 0
    for time, change in changes:
        now += change
        steps.append((time, now))
    return steps
