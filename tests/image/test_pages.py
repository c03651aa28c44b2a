"""Libraries whose pages lie in another order: the same in memory, and known by what was touched."""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from image.start import pages
from image.start.libraries import numbers, text
from image.start.pages import LOAD, PAGE, NotReorderable, segments_of

LIBRARY = next((Path(numpy.__file__).parent / "_core").glob("_multiarray_umath.*.so"))
# Copies of numpy's libraries, with whatever they are linked with, in the place of the installed ones.
COMPUTE = """
import numpy
generator = numpy.random.default_rng(0)
a, b = generator.standard_normal((2, 70, 70))
print(numpy.linalg.solve(a, b).tobytes().hex(), (a @ b).tobytes().hex(), numpy.linalg.svd(a)[1].tobytes().hex())
print(numpy.__file__)
"""


def memory(library: bytes) -> dict[int, tuple[int, bytes]]:
    """What a loader makes of a library: page → its flags and bytes."""
    found = {}
    for segment in segments_of(library):
        if segment.kind == LOAD:
            for page in segment.pages:
                start = segment.offset + page * PAGE - segment.address
                found[page] = segment.flags, library[start : start + PAGE].ljust(PAGE, b"\0")
    return found


@pytest.fixture(scope="module")
def library() -> bytes:
    """A large library."""
    return LIBRARY.read_bytes()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_memory_is_the_same_in_any_order(library: bytes, seed: int) -> None:
    order = list(memory(library))
    random.Random(seed).shuffle(order)
    assert memory(pages.reorder(library, order)) == memory(library)


def test_no_two_pages_are_mapped_together_one_by_one(library: bytes) -> None:
    loaded = [segment for segment in segments_of(pages.one_by_one(library)) if segment.kind == LOAD]
    assert all(len(segment.pages) == 1 for segment in loaded)
    assert [page for segment in loaded for page in segment.pages] == list(memory(library))


def test_the_touched_pages_are_at_the_front(library: bytes) -> None:
    touched = {3, 4, 100, 1000}
    written, length = pages.front(library, touched)
    front = memory_within(written, length)
    assert touched <= front
    assert len(front) <= len(touched) + 2  # the notes' pages
    assert memory(written) == memory(library)


def memory_within(library: bytes, length: int) -> set[int]:
    """The pages that lie in the first bytes of the file."""
    loaded = [segment for segment in segments_of(library) if segment.kind == LOAD]
    return {page for segment in loaded if segment.offset < length for page in segment.pages}


def test_pages_that_there_are_not_change_nothing(library: bytes) -> None:
    assert pages.front(library, {5, 10**6}) == pages.front(library, {5})


@pytest.mark.parametrize(
    "data", [b"", b"\x7fELF\x01\x01\x01" + b"\0" * 100, b"#!/bin/sh\n" * 20, LIBRARY.read_bytes()[:200]]
)
def test_what_is_no_library_is_refused(data: bytes) -> None:
    with pytest.raises(NotReorderable):
        segments_of(data)


@pytest.mark.parametrize("rewrite", [pages.one_by_one, lambda library: pages.front(library, {*range(0, 400, 7)})[0]])
def test_numpy_and_its_blas_compute_the_same(rewrite: object, tmp_path: Path) -> None:
    assert callable(rewrite)
    packages = Path(numpy.__file__).parent.parent
    for name in ("numpy", "numpy.libs"):
        shutil.copytree(packages / name, tmp_path / name, ignore=shutil.ignore_patterns("tests", "*.pyi"))
    for path in tmp_path.rglob("*.so*"):
        if path.stat().st_size > 1 << 20:
            path.write_bytes(rewrite(path.read_bytes()))
    done, expected = (compute({**os.environ, "PYTHONPATH": path}) for path in (str(tmp_path), ""))
    assert done[-1].startswith(str(tmp_path))
    assert done[:-1] == expected[:-1]


def compute(environ: dict[str, str]) -> list[str]:
    """Products, solutions, singular values by a fresh Python's numpy."""
    command = [sys.executable, "-P", "-c", COMPUTE]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.split()


def test_what_a_call_touches_is_seen_page_by_page(tmp_path: Path) -> None:
    kernels = Path(__file__).parents[2] / "handler/libfirebrick_kernels.so"
    if not kernels.is_file():
        pytest.skip("the kernels aren't built: `make tools` does it where there is cargo")
    path = tmp_path / "library.so"
    path.write_bytes(pages.one_by_one(kernels.read_bytes()))
    library = ctypes.CDLL(str(path))
    before = pages.touched_pages(str(path))
    library.firebrick_describe()
    after = pages.touched_pages(str(path))
    address = ctypes.cast(library.firebrick_describe, ctypes.c_void_p).value
    assert address is not None
    assert (address - base_of(path)) // PAGE in after - before
    assert len(after) < len(memory(path.read_bytes()))


def base_of(path: Path) -> int:
    """Where a library begins in this process."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return int(next(line for line in lines if line.endswith(str(path))).partition("-")[0], 16)


def test_page_numbers_are_written_as_ranges() -> None:
    assert text({0, 1, 2, 7, 9, 10}) == "0-2,7,9-10"
    assert numbers("0-2,7,9-10") == {0, 1, 2, 7, 9, 10}
    assert text(set()) == ""
    assert numbers("") == set()
