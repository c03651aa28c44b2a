"""`python -m image.build`: artefact and code → the images of the stream and the worker function."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from image.base.__main__ import make_images
from image.command import exit_code, model_parser
from image.context import LAUNCHER_COPY, MODEL, build_context
from image.engines import Build, Engine, choose
from image.secrets import write_secrets
from image.sources import Sources, choose_sources

TARGETS = ("stream", "worker")
REPOSITORY = "firebrick"
GIVEN = ("BASE_IMAGE", "BUILDER_IMAGE", "LWA_IMAGE", "PYTHON_VERSION")


def build_images(
    engine: Engine,
    sources: Sources,
    context: Path,
    targets: Sequence[str] = TARGETS,
    repository: str = REPOSITORY,
    cached: bool = True,
) -> dict[str, str]:
    """Build the targets of a context.

    Args:
        engine: builds.
        sources: what to build on.
        context: from `image.context.build_context`.
        targets: of the Dockerfile.
        repository: what the images are called before the colon.
        cached: whether layers of earlier builds may be used.

    Returns:
        tag → image id.

    Raises:
        CommandFailed: one can't be built.
    """
    ids = {}
    arguments = {**sources.arguments, "MODEL_DIR": MODEL}
    if (context / LAUNCHER_COPY).is_file():
        arguments["LAUNCHER"] = LAUNCHER_COPY
    with tempfile.TemporaryDirectory() as directory:
        secrets = write_secrets(Path(directory))
        for target in targets:
            tag = f"{repository}:{target}"
            engine.build(Build(context, target, tag, arguments, secrets, cached))
            ids[tag] = engine.image_id(tag)
    return ids


def prepare(asked: str, environ: Mapping[str, str]) -> tuple[Engine, Sources]:
    """Choose engine and sources, say so, and make the sources that are made here.

    Raises:
        ImageError: something is missing.
    """
    engine, others = choose(asked)
    because = "".join(f"; {name} doesn't: {reason}" for name, reason in others.items())
    _say(f"{engine.name} works here{because}" if not asked else f"{engine.name}, as asked for")
    sources = choose_sources({key: environ.get(key, "") for key in GIVEN}, engine)
    _say(f"on {sources.base}, pip in {sources.builder}, adapter from {sources.adapter}")
    if sources.local:
        _say("these are made from Debian's packages and a crate, since no registry with AWS's was reachable or wanted")
        make_images(engine)
    return engine, sources


def _say(text: str) -> None:
    print(f"image: {text}", flush=True)


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command; the exit code is 0, or 2 if something that the user can mend prevents a build."""
    parser = model_parser("build", "Build the function's images.")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this; default: both")
    parser.add_argument("--repository", default=REPOSITORY, help="the images' name (default: %(default)s)")
    given = parser.parse_args(arguments)
    return exit_code(lambda: _build(given, environ))


def _build(given: argparse.Namespace, environ: Mapping[str, str]) -> None:
    started = time.monotonic()
    with build_context(given.model_dir) as context:
        engine, sources = prepare(given.engine, environ)
        ids = build_images(engine, sources, context, given.target or TARGETS, given.repository)
    for tag, digest in ids.items():
        _say(f"{tag} {digest}")
    _say(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
