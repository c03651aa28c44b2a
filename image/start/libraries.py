"""Writes the image's large libraries with the pages first that a start touches, and finds out which these are.

`touched.json` says it for each library by its hash, so an image depends on nothing but files. A library that isn't in
it stays as it is. Runs while an image is built, on the base's Python.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from image.start import pages
from image.start.record import ENVIRONMENT, FRONTS, ask, free_port

TOUCHED = Path(__file__).parent / "touched.json"
LEAST = 1 << 20  # bytes; smaller libraries are one chunk or two anyway
READ = ("anyio/__init__.py", "anyio/abc/__init__.py")  # by themselves, to know what they import only when it is used
DIRECTORIES = ("start", "site", "app/handler", "app/__pycache__")  # of /opt/firebrick, besides those of libraries
STARTS = 3  # which threads come first differs a little from one to the next
STOP_S = 60.0


def large_libraries(site: Path) -> Iterator[tuple[Path, bytes]]:
    """The libraries that are worth it and can be reordered, by name."""
    for path in sorted(site.rglob("*.so*")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size >= LEAST:
            library = path.read_bytes()
            try:
                pages.segments_of(library)
            except pages.NotReorderable:
                continue
            yield path, library


def order(site: Path, touched: Mapping[str, Any]) -> dict[str, int]:
    """Write libraries with their touched pages first, in place.

    Args:
        site: a directory of packages.
        touched: what `touched.json` says.

    Returns:
        path → length of the front in bytes, of those that were written; it is kept in the directory, too.
    """
    known = {entry["sha256"]: entry["pages"] for libraries in touched.values() for entry in libraries.values()}
    fronts = {}
    for path, library in large_libraries(site):
        found = known.get(hashlib.sha256(library).hexdigest())
        if found is None:
            print(f"firebrick: {path.name} stays as it is: {TOUCHED.name} doesn't have it", file=sys.stderr)
        if not found:
            continue
        written, fronts[str(path)] = pages.front(library, numbers(found))
        _replace(path, written)
    if fronts:
        (site / FRONTS).write_text(json.dumps(fronts, indent=1) + "\n")
        (site / FRONTS).chmod(0o644)
    return fronts


def split(site: Path, touched: Mapping[str, Any], out: Path) -> None:
    """Move libraries out of a directory of packages, so that what a start opens lies together in layers of its own.

    Args:
        site: the directory; large libraries are in order.
        touched: what `touched.json` says.
        out: gets `first`, with the directories of the image and of all libraries, small libraries that a start
            loads and sources that it reads, and `libraries`, with all other libraries.
    """
    known = {entry["sha256"] for libraries in touched.values() for entry in libraries.values() if entry["pages"]}
    for name in DIRECTORIES:
        (out / "first" / name).mkdir(parents=True)
    sources = [site / name for name in READ if (site / name).is_file()]
    for path in sorted([*site.rglob("*.so*"), *sources]):
        library, place = path.read_bytes(), path.relative_to(site)
        small = path in sources or (len(library) < LEAST and hashlib.sha256(library).hexdigest() in known)
        for to in ("first/site", "libraries"):
            (out / to / place).parent.mkdir(parents=True, exist_ok=True)
        path.rename(out / ("first/site" if small else "libraries") / place)


def record(site: Path, command: Iterable[str]) -> dict[str, dict[str, str]]:
    """Start the function a few times with libraries whose pages are mapped one by one, and look which were needed.

    The libraries are left so.

    Args:
        site: a directory of packages.
        command: what starts the function.

    Returns:
        library → its hash, and the pages that were needed up to the answer to a first request; none of some, and all of
        a small one that was loaded.

    Raises:
        OSError: the kernel doesn't say, or the function doesn't start.
    """
    large = dict(large_libraries(site))
    for path, library in large.items():
        _replace(path, pages.one_by_one(library))
    small = {path: path.read_bytes() for path in site.rglob("*.so*") if path.stat().st_size < LEAST}
    originals = {**large, **small}
    touched: dict[Path, set[int]] = {path: set() for path in originals}
    for _ in range(STARTS):
        for path, found in _one_start(list(originals), list(command)).items():
            touched[path].update(_all_pages(path) if found and path in small else found)
    return {
        path.name: {"sha256": hashlib.sha256(originals[path]).hexdigest(), "pages": text(found)}
        for path, found in touched.items()
        if path in large or found
    }


def _all_pages(path: Path) -> range:
    return range(-(-path.stat().st_size // pages.PAGE))


def _one_start(libraries: list[Path], command: list[str]) -> dict[Path, set[int]]:
    port = free_port()
    process = subprocess.Popen(command, env={**os.environ, **ENVIRONMENT, "AWS_LWA_PORT": str(port)})
    try:
        ask(port, lambda: process.poll() is None)
        return {path: pages.touched_pages(str(path), str(process.pid)) for path in libraries}
    finally:
        process.terminate()
        process.wait(STOP_S)


def _replace(path: Path, library: bytes) -> None:
    new = path.with_name(path.name + ".new")  # whoever has the old one mapped keeps it
    new.write_bytes(library)
    new.chmod(0o644)
    new.replace(path)


def text(found: Set[int]) -> str:
    """Page numbers as `0-3,7`."""
    starts = sorted(page for page in found if page - 1 not in found)
    ends = sorted(page for page in found if page + 1 not in found)
    return ",".join(f"{start}-{end}" if end > start else str(start) for start, end in zip(starts, ends, strict=True))


def numbers(written: str) -> set[int]:
    """What `text` wrote."""
    found: set[int] = set()
    for part in written.split(",") if written else ():
        start, _, end = part.partition("-")
        found |= {*range(int(start), int(end or start) + 1)}
    return found


def main(arguments: list[str]) -> int:
    """Run the command; the exit code is 0, or 2 if it can't be recorded here."""
    parser = argparse.ArgumentParser("libraries.py", description=__doc__)
    parser.add_argument("what", choices=("order", "split", "record"))
    parser.add_argument("site", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=TOUCHED, help="where `record` or `split` writes")
    given = parser.parse_args(arguments)
    if given.what == "order":
        order(given.site, json.loads(TOUCHED.read_text()))
        return 0
    if given.what == "split":
        split(given.site, json.loads(TOUCHED.read_text()), given.out)
        return 0
    try:
        found = record(given.site, (sys.executable, "-m", "handler"))
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"firebrick: what a start touches can't be recorded: {error}", file=sys.stderr)
        return 2
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({tag(): found}, indent=1) + "\n")
    return 0


def tag() -> str:
    """What the libraries are for: processors and Python."""
    return f"{platform.machine()}-cp{sys.version_info.major}{sys.version_info.minor}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
