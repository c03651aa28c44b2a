"""`python -m image.touched`: which pages of large libraries a start touches, written to image/start/touched.json."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from image.archive import read_image
from image.build import build_images, prepare
from image.command import exit_code, model_parser
from image.context import ROOT, build_context
from image.engines import Engine
from image.sources import Sources
from image.start.libraries import numbers, text

REPOSITORY = "firebrick-touched"
TARGET, FILE = "touched", "touched.json"
KEPT = Path("image/start") / FILE


def measure(engine: Engine, sources: Sources, model_dir: Path) -> dict[str, Any]:
    """Start the function in a build and look.

    Returns:
        `touched.json` of this base: processors and Python → library → hash and pages.

    Raises:
        ImageError: it can't be built.
        StartupError: the artefact isn't whole.
    """
    with build_context(model_dir) as context:
        tag = next(iter(build_images(engine, sources, context, [TARGET], REPOSITORY)))
    try:
        found: dict[str, Any] = json.loads(read_image(engine, tag, lambda path: path == FILE).contents[FILE])
        return found
    finally:
        engine.remove(tag)


def merged(kept: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """The new file: what was found replaces what was kept of the same processors and Python, and of the same library
    adds to it, since each generation of processors takes functions of its own."""
    united = {
        tag: {name: _both(kept.get(tag, {}).get(name), new) for name, new in of.items()} for tag, of in found.items()
    }
    return json.dumps({**kept, **united}, indent=1, sort_keys=True) + "\n"


def _both(kept: Mapping[str, str] | None, new: Mapping[str, str]) -> Mapping[str, str]:
    if kept is None or kept["sha256"] != new["sha256"]:
        return new
    return {**new, "pages": text(numbers(kept["pages"]) | numbers(new["pages"]))}


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit code is 0, or 2 if something that the user can mend prevents it."""
    parser = model_parser("touched", "Record which pages of libraries a start touches.")
    given = parser.parse_args(arguments)
    return exit_code(lambda: _record(given.engine, given.model_dir))


def _record(asked: str, model_dir: Path) -> None:
    engine, sources = prepare(asked, os.environ)
    found = measure(engine, sources, model_dir)
    path = ROOT / KEPT
    path.write_text(merged(json.loads(path.read_text()), found))
    for tag, libraries in found.items():
        print(f"{KEPT}: {len(libraries)} libraries for {tag}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
