"""`python -m image.push_check`: a changed line in handler/ pushes the code layer, and no other."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from image.build import TARGETS, build_images, prepare
from image.command import exit_code, model_parser
from image.context import build_context
from image.engines import Engine
from image.errors import TooMuchPushed
from image.registry import Registry, loopback_registry
from image.sources import Sources

REPOSITORY = "firebrick-push"
CHANGED = "handler/settings.py"
LINE = "CHANGED = True\n"
CHANGES = 2  # layers: the code, and its byte code in one file
OVERHEAD = 64 * 1024  # bytes: configuration, manifest, HTTP


@dataclass(frozen=True)
class Pushed:
    """What two pushes of one target cost.

    Attributes:
        first: bytes sent into an empty registry.
        second: bytes sent after a line was changed.
        layers: of the image.
        code: bytes of the layers that changed, as pushed.
    """

    target: str
    first: int
    second: int
    layers: int
    code: int


def measure(engine: Engine, sources: Sources, model_dir: Path, target: str) -> Pushed:
    """Push, change a line, push again.

    Raises:
        TooMuchPushed: more than the code went over the line.
        ImageError: something can't be built or pushed.
        StartupError: the artefact isn't whole.
    """
    with loopback_registry() as registry, build_context(model_dir) as context:
        first, before = _push(engine, sources, context, target, registry)
        with (context / CHANGED).open("a") as file:
            file.write(LINE)
        second, after = _push(engine, sources, context, target, registry)
    new = [layer for layer in after if layer not in before]
    code = sum(after[layer] for layer in new)
    if len(new) != CHANGES or second > code + OVERHEAD:
        raise TooMuchPushed(target, second, code)
    return Pushed(target, first, second, len(after), code)


def _push(
    engine: Engine, sources: Sources, context: Path, target: str, registry: Registry
) -> tuple[int, dict[str, int]]:
    tag = f"{REPOSITORY}:{target}"
    build_images(engine, sources, context, [target], REPOSITORY)
    before = registry.counter.sent
    try:
        engine.push(tag, f"{registry.address}/{REPOSITORY}:{target}")
    finally:
        engine.remove(tag, f"{registry.address}/{REPOSITORY}:{target}")
    layers = registry.manifest(REPOSITORY, target)["layers"]
    return registry.counter.sent - before, {layer["digest"]: layer["size"] for layer in layers}


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit code is 0, or 2 if more was pushed or something failed."""
    parser = model_parser("push_check", "Count what a changed line pushes.")
    given = parser.parse_args(arguments)
    return exit_code(lambda: _check(given))


def _check(given: argparse.Namespace) -> None:
    engine, sources = prepare(given.engine, os.environ)
    for target in TARGETS:
        pushed = measure(engine, sources, given.model_dir, target)
        print(
            f"{target}: {pushed.first:,} bytes into an empty registry; a changed line in {CHANGED}: "
            f"{pushed.second:,} bytes, {CHANGES} of {pushed.layers} layers"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
