"""`python -m image.check`: the same code and artefact in another folder, built without a cache, are the same images."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from handler.engine.kernels import NAME as LIBRARY
from image.build import TARGETS, build_images, prepare
from image.command import exit_code, model_parser
from image.context import BUILDING, LAUNCHER, ROOT, build_context, handler_files
from image.engines import Engine
from image.errors import NotReproducible
from image.sources import Sources

REPOSITORY = "firebrick-check"


@contextmanager
def other_clone(umask: int = 0o077) -> Iterator[Path]:
    """Copy what images are made from into another folder, under another umask, with today's file times."""
    before = os.umask(umask)
    try:
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            for path in (*BUILDING, *handler_files(), f"handler/{LIBRARY}", LAUNCHER):
                if (ROOT / path).is_file():
                    (root / path).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(ROOT / path, root / path)
            yield root
    finally:
        os.umask(before)


def compare(engine: Engine, sources: Sources, model_dir: Path) -> dict[str, str]:
    """Build twice.

    Args:
        engine: builds.
        sources: what to build on.
        model_dir: an artefact.

    Returns:
        target → image id.

    Raises:
        NotReproducible: two builds differ.
        ImageError: one fails.
        StartupError: the artefact isn't whole.
    """
    with build_context(model_dir) as context:
        first = build_images(engine, sources, context, repository=REPOSITORY)
    try:
        with other_clone() as root, build_context(model_dir, root) as context:
            second = build_images(engine, sources, context, repository=REPOSITORY, cached=False)
    finally:
        engine.remove(*first)
    for tag in first:
        if first[tag] != second[tag]:
            raise NotReproducible(tag, first[tag], second[tag])
    return {target: first[f"{REPOSITORY}:{target}"] for target in TARGETS}


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit code is 0, or 2 if the builds differ or can't be made."""
    parser = model_parser("check", "Build twice and compare.")
    given = parser.parse_args(arguments)
    return exit_code(lambda: _check(given))


def _check(given: argparse.Namespace) -> None:
    engine, sources = prepare(given.engine, os.environ)
    for target, digest in compare(engine, sources, given.model_dir).items():
        print(f"{target} {digest}: twice the same")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
