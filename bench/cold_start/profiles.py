"""Disks: how long a chunk takes, how many bytes come in a second, how many chunks at a time."""

from __future__ import annotations

from dataclasses import dataclass

CHUNK = 512 * 1024  # bytes, as Lambda cuts its images
THREADS = 96  # of the disk, so that many chunks can be on their way


@dataclass(frozen=True)
class Profile:
    """A disk.

    Attributes:
        near_us: microseconds until a chunk's first byte.
        far_us: the same of the others.
        far_permille: how many of a thousand these are.
        gb_per_s: of all chunks together; 0 for no limit.
        depth: chunks at a time; 0 for no limit.
        lazy: False for no such disk at all: everything is in the page cache.
    """

    near_us: int = 500
    far_us: int = 36_000
    far_permille: int = 0
    gb_per_s: float = 1.0
    depth: int = 0
    lazy: bool = True

    def options(self) -> list[str]:
        """As `lazydisk` takes it."""
        numbers = {
            "near_us": self.near_us,
            "far_us": self.far_us,
            "far_permille": self.far_permille,
            "bytes_per_s": round(self.gb_per_s * 1e9),
            "depth": self.depth,
            "threads": THREADS,
        }
        return [f"{name}={number}" for name, number in numbers.items()]

    def seconds(self, nbytes: int) -> float:
        """How long so many bytes take at least; 0 without a limit."""
        return nbytes / (self.gb_per_s * 1e9) if self.lazy and self.gb_per_s else 0.0


# Latencies are those of "On-demand Container Loading in AWS Lambda" (ATC 2023): a cache in the same zone, and S3.
PROFILES = {
    "warm": Profile(lazy=False),
    "near": Profile(),
    "mixed": Profile(far_permille=50),
    "half": Profile(far_permille=50, gb_per_s=0.5),
    "far": Profile(far_permille=1000),
    "depth8": Profile(depth=8),
}
