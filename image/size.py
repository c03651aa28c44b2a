"""`python -m image.size`: what each layer of an image brings and weighs, against Lambda's limit."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from image.archive import SavedImage, read_image
from image.command import exit_code, images_parser
from image.engines import choose
from image.errors import TooLarge

LIMIT = 10 * 2**30  # bytes, uncompressed, all layers: https://docs.aws.amazon.com/lambda/latest/dg/images-create.html


def report(name: str, saved: SavedImage) -> str:
    """A table with a line a layer, from the lowest up."""
    lines = [f"{name:46} {'bytes':>15} {'compressed':>15}"]
    lines += [_line(layer.what, layer.size, layer.compressed) for layer in saved.layers]
    lines.append(_line(f"{len(saved.layers)} layers", saved.size, sum(layer.compressed for layer in saved.layers)))
    lines.append(f"{saved.size / LIMIT:.1%} of Lambda's {LIMIT:,} bytes")
    return "\n".join(lines)


def _line(what: str, size: int, compressed: int) -> str:
    return f"{what:46} {size:15,} {compressed:15,}"


def check(name: str, saved: SavedImage) -> None:
    """Compare with the limit.

    Raises:
        TooLarge: it is beyond.
    """
    if saved.size > LIMIT:
        raise TooLarge(name, saved.size, LIMIT)


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit code is 0, or 2 if an image is missing or too large."""
    parser = images_parser("size", "Show what the layers of images weigh.")
    given = parser.parse_args(arguments)
    return exit_code(lambda: _print(given))


def _print(given: argparse.Namespace) -> None:
    engine, _ = choose(given.engine)
    for name in given.image:
        saved = read_image(engine, name, compress=True)
        print(report(name, saved), end="\n\n", flush=True)
        check(name, saved)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
