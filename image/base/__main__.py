"""`python -m image.base`: base, builder and adapter images, unless they are there."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from image.base.adapter import compile_adapter, make_adapter
from image.base.debian import PACKAGES, make_debian
from image.base.names import ADAPTER
from image.command import engine_parser, exit_code
from image.context import ROOT
from image.engines import Engine, choose

CACHE = ROOT / "build" / "lwa"


def make_images(engine: Engine, anew: bool = False) -> None:
    """Make the images that aren't in the engine's storage, or all of them.

    Raises:
        ImageError: one can't be made.
    """
    for name in PACKAGES:
        if anew or not engine.has(name):
            print(f"{name}: {', '.join(PACKAGES[name])} from Debian's packages", flush=True)
            make_debian(engine, name)
    if anew or not engine.has(ADAPTER):
        print(f"{ADAPTER}: the Web Adapter from its crate", flush=True)
        make_adapter(engine, CACHE)


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit code is 0, or 2 if an image can't be made."""
    parser = engine_parser("base", "Make base and adapter images locally.")
    parser.add_argument("--anew", action="store_true", help="with today's packages, also if they are there")
    parser.add_argument("--binary", action="store_true", help="only compile the adapter, into build/lwa")
    given = parser.parse_args(arguments)
    return exit_code(lambda: _make(given))


def _make(given: argparse.Namespace) -> None:
    if given.binary:
        print(compile_adapter(CACHE, os.environ))
        return
    engine, _ = choose(given.engine)
    make_images(engine, given.anew)
    for name in (*PACKAGES, ADAPTER):
        print(f"{name} {engine.image_id(name)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
