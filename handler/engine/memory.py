"""How much memory this environment has for the cache, and so how many answers it can make at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from handler.artefact import WEIGHTS, Artefact
from handler.engine.cgroup import directories, read_text

RESERVE = 2**30  # bytes for all but weights and cache: see docs/worker.md
MOST_SLOTS = 8
COMMON_TOKENS = 4096  # a slot that nobody asked for is worth having if it can hold so many


@dataclass(frozen=True)
class Room:
    """What slots may hold together: where memory is short, less than a whole context each.

    Attributes:
        slots: sequences at a time.
        tokens: of all slots, that there is memory for.
        kept: tokens that a free slot may still hold.
    """

    slots: int
    tokens: int
    kept: int

    def fits(self, needs: Sequence[int]) -> bool:
        """Whether there is memory for sequences of so many tokens, whichever slots they get.

        Every slot counts with what it keeps when it is free.
        """
        return sum(max(0, need - self.kept) for need in needs) <= self.tokens - self.slots * self.kept


def plan_room(artefact: Artefact, limit: int, slots: int | None = None) -> Room:
    """Choose the number of slots, and what they may hold.

    Args:
        artefact: its weights stay in memory, and its cache has its size for each token.
        limit: bytes that this environment has.
        slots: how many were asked for; None for as many as have room for `COMMON_TOKENS` each, at most `MOST_SLOTS`,
            and one where a step takes only one sequence.
    """
    from handler.engine.cache import token_bytes  # numpy: whoever only asks for the limit needn't wait for it

    # onnxruntime's kernels pack what they read; beside a file that frees no memory, beside a file in memory it does.
    copies = 2 if artefact.held and artefact.kernels == "stock" else 1
    left = limit - copies * artefact.path(WEIGHTS).stat().st_size - RESERVE
    tokens = max(0, left) // token_bytes(artefact)
    common = min(artefact.context_length, COMMON_TOKENS)
    most = MOST_SLOTS if artefact.kernels == "native" else 1
    count = slots or max(1, min(most, tokens // common))
    whole = count == 1 or tokens >= count * artefact.context_length
    # What one frees another can use: half of the memory is for those that are longer than their share.
    return Room(count, tokens, artefact.context_length if whole else tokens // (2 * count))


def memory_limit(environ: Mapping[str, str], root: Path = Path("/")) -> int:
    """Find out how many bytes this process may use: the smallest of `memory_limits`.

    Args:
        environ: the environment.
        root: where /proc and /sys are looked for.
    """
    return min(memory_limits(environ, root).values(), default=0)


def memory_limits(environ: Mapping[str, str], root: Path = Path("/")) -> dict[str, int]:
    """Name what bounds this process, in bytes: Lambda's memory size, the cgroup's limit, what the machine has left."""
    limits = {}
    size = environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
    if size.isdecimal():
        limits["Lambda memory size"] = int(size) * 2**20
    names = {1: "memory.limit_in_bytes", 2: "memory.max"}
    groups = [read_text(path / names[version]).strip() for version, path in directories("memory", root)]
    if numbers := [int(number) for number in groups if number.isdecimal()]:
        limits["cgroup limit"] = min(numbers)
    available = re.search(r"^MemAvailable:\s+(\d+) kB$", read_text(root / "proc/meminfo"), re.MULTILINE)
    if available:
        limits["available memory"] = int(available[1]) * 1024
    return limits
