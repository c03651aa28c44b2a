"""The control groups that this process is in, for whoever wants to know their limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def directories(controller: str, root: Path = Path("/")) -> Iterator[tuple[int, Path]]:
    """Give the version (1 or 2) and the directory of each group whose limits apply; a group's parents count too.

    Args:
        controller: such as `cpu`.
        root: where /proc and /sys are looked for.
    """
    mount = root / "sys/fs/cgroup"
    for line in read_text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            yield from ((2, directory) for directory in _upwards(mount, group))
        elif controller in controllers.split(","):
            for hierarchy in (mount / controllers, mount / controller):
                yield from ((1, directory) for directory in _upwards(hierarchy, group))


def read_text(path: Path) -> str:
    """Read one of the kernel's files; empty if it can't be read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _upwards(mount: Path, group: str) -> Iterator[Path]:
    directory = mount / group.strip("/")
    yield directory
    while directory != mount and mount in directory.parents:
        directory = directory.parent
        yield directory
