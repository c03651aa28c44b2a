"""A container's control groups, version 1 or 2: freezing, memory, processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
FREEZE_S = 2.0
POLL_S = 0.001


class Cgroup:
    """The groups that a process is in.

    Args:
        pid: The container's first process.
    """

    def __init__(self, pid: int) -> None:
        paths = _paths(Path(f"/proc/{pid}/cgroup").read_text())
        self._unified = "freezer" not in paths
        self._freezer = paths[""] if self._unified else paths["freezer"]
        self._memory = paths[""] if self._unified else paths["memory"]

    def freeze(self) -> None:
        """Stop every process; return once they have stopped."""
        if self._unified:
            (self._freezer / "cgroup.freeze").write_text("1")
            _wait_until(lambda: "frozen 1" in _text(self._freezer / "cgroup.events"))
        else:
            (self._freezer / "freezer.state").write_text("FROZEN")
            _wait_until(lambda: _text(self._freezer / "freezer.state").strip() != "FREEZING")

    def thaw(self) -> None:
        """Let them go on."""
        with suppress(FileNotFoundError):  # They have all ended.
            if self._unified:
                (self._freezer / "cgroup.freeze").write_text("0")
            else:
                (self._freezer / "freezer.state").write_text("THAWED")

    def out_of_memory_kills(self) -> int:
        """Return how many processes the kernel killed because the memory was used up."""
        events = _text(self._memory / ("memory.events" if self._unified else "memory.oom_control"))
        return sum(int(line.split()[1]) for line in events.splitlines() if line.startswith("oom_kill "))

    def pids(self) -> list[int]:
        """Return the processes, as this machine numbers them."""
        return [int(pid) for pid in _text(self._memory / "cgroup.procs").split()]


def _paths(listing: str) -> dict[str, Path]:
    """Return the directory of each controller; version 2's has the name ''."""
    found = {}
    for line in listing.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            base = ROOT / controllers if controller else ROOT
            found[controller] = base / path.lstrip("/")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # The group ends with its last process.
        return ""


def _wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + FREEZE_S
    while not done() and time.monotonic() < deadline:
        time.sleep(POLL_S)
