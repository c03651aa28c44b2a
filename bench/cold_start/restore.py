"""`python -m bench.cold_start.restore DIR`: a stand-in for a restore from a snapshot that lies on a lazy disk.

No machine is restored. A server that has a prompt in its cache is stopped; its files' pages are put out of memory, and
the disk forgets them. Then prefetchers bring what the last answer used, in the order of the files, and as many bytes as
it used of other memory before anything else; from then on the server runs again, and is asked another question behind
the same prompt.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from threading import Thread
from typing import Any

from bench.cold_start import pages
from bench.cold_start.disk import Mounted, Unavailable, container
from bench.cold_start.fetches import read_log
from bench.cold_start.profiles import CHUNK, PROFILES, Profile
from bench.cold_start.prompts import BEHIND, FIRST_ID, VOCABULARY, Prompt, invented, prompts_of
from bench.cold_start.roots import require_artefact
from bench.cold_start.setting import Setting, add_options, check_options, prepared, run
from bench.cold_start.start import end, read_ready, spawn
from bench.machine import print_ceiling
from bench.server import complete

MEMORY = "memory"  # a file in the root, for memory that is no file's
MEMORY_BYTES = 192 << 20
SNAP_START = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
MEGA = 1e6
WEIGHTS = "model.safetensors"
THREADS = 4  # that ask for pieces, and wait for them


@dataclass
class WorkingSet:
    """What an answer to a question behind a cached prompt uses.

    Attributes:
        chunks: file → numbers of its 512 KiB pieces.
        file_bytes: of the files, by the kernel's referenced bits.
        other_bytes: of other memory.
    """

    chunks: Mapping[str, Sequence[int]] = field(default_factory=dict)
    file_bytes: int = 0
    other_bytes: int = 0

    @property
    def nbytes(self) -> int:
        """All of it."""
        return self.file_bytes + self.other_bytes

    def pieces(self, memory: str) -> list[tuple[str, int]]:
        """What is to be brought, in this order: other memory, libraries, weights."""
        others = [(memory, number) for number in range(-(-self.other_bytes // CHUNK))]
        paths = sorted(self.chunks, key=lambda path: path.endswith(WEIGHTS))
        return others + [(path, number) for path in paths for number in self.chunks[path]]


@dataclass(frozen=True)
class Restored:
    """One restore.

    Attributes:
        brought_ms: from its beginning until the prefetchers had brought all.
        first_token_ms: the same to the first token.
        nbytes: fetched by then.
        left: bytes of files that couldn't be put out of memory before.
    """

    brought_ms: float
    first_token_ms: float
    nbytes: int
    left: int


def _medians(measured: Sequence[Restored], bound_ms: float) -> dict[str, float]:
    brought, token = (median(getattr(one, name) for one in measured) for name in ("brought_ms", "first_token_ms"))
    return {
        "brought_ms": round(brought, 1),
        "first_token_ms": round(token, 1),
        "brought_ratio": round(brought / bound_ms, 3),
        "ratio": round(token / bound_ms, 3),
        "fetched_mb": round(median(one.nbytes for one in measured) / MEGA, 1),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0, also where this machine can't do it, or 2 if something is wrong."""
    parser = argparse.ArgumentParser("bench.cold_start.restore", description="A stand-in for a restore.")
    add_options(parser)
    parser.add_argument(
        "--prefetchers",
        type=int,
        action="append",
        metavar="N",
        help="pieces of the working set that are on their way at a time (32, 64)",
    )
    args = parser.parse_args(arguments)
    args.prefetchers = args.prefetchers or [32, 64]
    check_options(parser, args)
    if not all(PROFILES[name].lazy for name in args.profile):
        parser.error("--profile warm: a restore needs a disk that has to bring something")
    if min(args.prefetchers) < 0:
        parser.error("--prefetchers: expected 0 or more")
    return run("restore", lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    require_artefact(args.model_dir)
    machine = print_ceiling()
    (prompt,) = prompts_of(["short"], args.model_dir).values()
    with prepared(args, {MEMORY: os.urandom(MEMORY_BYTES)}) as setting:
        found = {name: _on_disk(args, setting, name, prompt) for name in args.profile}
    result = {"bench": "restore", "stand_in": True, "artefact": str(args.model_dir), "root": setting.source}
    print(json.dumps({**result, "profiles": found, "machine": machine}))


def _on_disk(args: argparse.Namespace, setting: Setting, name: str, prompt: Prompt) -> dict[str, Any]:
    with setting.disk(PROFILES[name]) as mounted, container(mounted.root):
        process = spawn(setting.started, mounted, SNAP_START)
        try:
            ready = read_ready(process, setting.started)
            # Its log, or a full pipe would stop it.
            Thread(target=process.stdout.read if process.stdout else None, daemon=True).start()
            frozen = Frozen(process.pid, mounted, PROFILES[name], ready, prompt)
            return frozen.measure(name, args.prefetchers, args.rounds)
        finally:
            end(process)


class Frozen:
    """A server that is stopped, emptied of its files' pages, and restored, again and again."""

    def __init__(self, pid: int, mounted: Mounted, profile: Profile, ready: Mapping[str, Any], prompt: Prompt) -> None:
        self._pid = pid
        self._mounted = mounted
        self._profile = profile
        self._ready = ready
        self._prompt = prompt
        self._areas: list[pages.Area] = []
        self._asked = 0

    def measure(self, name: str, prefetchers: Sequence[int], rounds: int) -> dict[str, Any]:
        """Find the working set, then restore with so many prefetchers each.

        Returns:
            the working set's MB, what it takes at the disk's bandwidth, and for each number of prefetchers the
            milliseconds until all was brought and to the first token, both divided by that, MB fetched.
        """
        for _ in range(2):
            self._ask()
        pages.clear_referenced(self._pid)
        self._ask()
        used = WorkingSet({}, *pages.referenced_bytes(self._pid))
        self._areas = pages.file_areas(self._pid, self._mounted.root)
        left = self._restore(0, WorkingSet()).left  # without prefetchers: afterwards only what was used is there
        used.chunks = pages.present_chunks(self._pid, self._areas)
        if used.other_bytes > MEMORY_BYTES:
            raise Unavailable(f"{used.other_bytes} bytes of memory besides files: more than {MEMORY_BYTES}")
        bound_ms = self._profile.seconds(used.nbytes) * 1e3
        found: dict[str, Any] = {
            "working_set_mb": round(used.nbytes / MEGA, 1),
            "other_memory_mb": round(used.other_bytes / MEGA, 1),
            "left_in_memory_mb": round(left / MEGA, 1),
            "bound_ms": round(bound_ms, 1),
        }
        times: dict[int, list[Restored]] = {count: [] for count in prefetchers}
        for number in range(rounds):
            for count in prefetchers:
                restored = self._restore(count, used)
                times[count].append(restored)
                told = f"all brought after {restored.brought_ms:,.0f} ms, first token {restored.first_token_ms:,.0f} ms"
                print(f"{number + 1}. {name}, {count} prefetchers: {told}", flush=True)
        found["prefetchers"] = {str(count): _medians(measured, bound_ms) for count, measured in times.items()}
        for count, medians in found["prefetchers"].items():
            print(f"{name}, {count} prefetchers: {medians}; bound {bound_ms:,.0f} ms")
        return found

    def _restore(self, count: int, used: WorkingSet) -> Restored:
        os.kill(self._pid, signal.SIGSTOP)
        memory = str(self._mounted.root / MEMORY)
        pages.evict(self._pid, [*self._areas, pages.Area(0, 0, 0, memory)])
        left = pages.present_bytes(self._pid, self._areas)
        self._mounted.forget()
        begun = time.monotonic_ns()
        fetchers = Prefetchers(used.pieces(memory) if count else [], count)
        fetchers.wait_for(memory)  # other memory must be there before it is used
        os.kill(self._pid, signal.SIGCONT)
        self._ask()
        ended = time.monotonic_ns()
        fetchers.end()
        assert self._mounted.log is not None
        fetched = [fetch for fetch in read_log(self._mounted.log) if begun <= fetch.begin <= ended]
        brought_ms = (max(fetchers.ended, default=begun) - begun) / 1e6
        return Restored(brought_ms, (ended - begun) / 1e6, len(fetched) * CHUNK, left)

    def _ask(self) -> None:
        self._asked += 1  # the very same prompt again would need no weights: its last row is kept
        question = [FIRST_ID + self._asked % (VOCABULARY - FIRST_ID), *invented(BEHIND - 1)]
        complete(self._ready["url"], self._ready["model"], [*self._prompt.ids, *question], 1)


class Prefetchers:
    """Brings pieces of files in their order, so many at a time.

    As the launcher does it: the system is asked for a piece when the one so many before it is there, which takes fewer
    threads and less time of the processor than a thread for each.
    """

    def __init__(self, pieces: Sequence[tuple[str, int]], count: int) -> None:
        self._handles = {path: os.open(path, os.O_RDONLY) for path in {path for path, _ in pieces}}
        self._pieces = pieces
        self._numbers = iter(range(len(pieces) + count))
        self._count = count
        self.ended: list[int] = []  # when each thread had nothing left to do, nanoseconds of the monotonic clock
        self._threads = [Thread(target=self._fetch, daemon=True) for _ in range(min(THREADS, count))]
        for thread in self._threads:
            thread.start()

    def _fetch(self) -> None:
        for number in self._numbers:
            if number >= self._count:
                self._wait(*self._pieces[number - self._count])
            if number < len(self._pieces):
                path, chunk = self._pieces[number]
                os.posix_fadvise(self._handles[path], chunk * CHUNK, CHUNK, os.POSIX_FADV_WILLNEED)
        self.ended.append(time.monotonic_ns())

    def _wait(self, path: str, chunk: int) -> None:
        os.pread(self._handles[path], 1, chunk * CHUNK)

    def wait_for(self, path: str) -> None:
        """Wait until all of a file's pieces have come."""
        for other, chunk in self._pieces:
            if other == path:
                self._wait(other, chunk)

    def end(self) -> None:
        """Wait for all, and close the files."""
        for thread in self._threads:
            thread.join()
        for handle in self._handles.values():
            os.close(handle)


if __name__ == "__main__":
    sys.exit(main())
