"""`python -m image.publish`: what `terraform apply` calls to build the functions' images and push them to ECR."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from handler.artefact import MANIFEST, load_artefact
from image.aws import require_boto3
from image.build import REPOSITORY, TARGETS, build_images, prepare
from image.command import exit_code, model_parser
from image.context import build_context, library_for
from image.ecr import Repository, parse_repository
from image.engines import Engine, choose
from image.errors import PushInvalid, TooLarge, WrongArchitecture
from image.size import LIMIT

GO_NAMES = {"x86_64": "amd64", "arm64": "arm64"}
REST = 500 * 2**20  # bytes that base, libraries and code have at most


def check(model_dir: Path, engine: str) -> None:
    """Find out what would prevent a build, without building.

    Raises:
        StartupError: the artefact isn't whole.
        ImageError: no engine works, boto3 or the kernels' library is missing, or the image would be too large.
    """
    library_for(load_artefact(model_dir, "quick"))
    check_size(model_dir, json.loads((model_dir / MANIFEST).read_bytes()))
    require_boto3()
    choose(engine)


def check_size(model_dir: Path, manifest: Mapping[str, Any]) -> None:
    """Compare what the image will have with Lambda's limit.

    Raises:
        TooLarge: it would be beyond.
    """
    size = sum(file["size"] for file in manifest["files"].values()) + REST
    if size > LIMIT:
        raise TooLarge(f"an image of {model_dir}", size, LIMIT)


def publish(
    model_dir: Path,
    repository: Repository,
    wanted: Mapping[str, str],
    architecture: str,
    asked: str,
    environ: Mapping[str, str],
) -> list[str]:
    """Build and push what isn't there yet.

    Args:
        model_dir: an artefact.
        repository: where to.
        wanted: target → tag.
        architecture: of the functions, by Lambda's names.
        asked: engine; empty for any.
        environ: has the build arguments.

    Returns:
        the targets that were pushed.

    Raises:
        StartupError: the artefact isn't whole.
        ImageError: something can't be built or pushed.
    """
    missing = [target for target, tag in wanted.items() if not repository.has(tag)]
    if not missing:
        return []
    check(model_dir, asked)
    with build_context(model_dir) as context:
        engine, sources = prepare(asked, environ)
        build_images(engine, sources, context, missing)
    for target in missing:
        image = f"{REPOSITORY}:{target}"
        _check_architecture(engine, image, architecture)
        print(f"image: pushing {image} as {wanted[target]}", flush=True)
        repository.push(engine, image, wanted[target])
    return missing


def _check_architecture(engine: Engine, image: str, architecture: str) -> None:
    found, wanted = engine.architecture(image), GO_NAMES[architecture]
    if found != wanted:
        raise WrongArchitecture(image, found, wanted)


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = model_parser("publish", "Build images and push them to ECR; tags that are there already are left alone.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="only find out what would prevent it")
    what.add_argument("--repository", help="ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME")
    parser.add_argument("--push", action="append", default=[], metavar="TARGET:TAG", help="stream:TAG, worker:TAG")
    parser.add_argument("--architecture", choices=GO_NAMES, default="x86_64", help="default: %(default)s")
    return parser


def parse_pushes(texts: Sequence[str]) -> dict[str, str]:
    """Read TARGET:TAG pairs.

    Raises:
        PushInvalid: one is none.
    """
    pushes = {}
    for text in texts:
        target, _, tag = text.partition(":")
        if target not in TARGETS or not tag:
            raise PushInvalid(text, TARGETS)
        pushes[target] = tag
    return pushes


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command; the exit code is 0, or 2 if something that the user can mend prevents it."""
    given = parser().parse_args(arguments)
    return exit_code(lambda: _run(given, environ))


def _run(given: argparse.Namespace, environ: Mapping[str, str]) -> None:
    if given.check:
        check(given.model_dir, given.engine)
        return
    repository = parse_repository(given.repository)
    wanted = parse_pushes(given.push)
    pushed = publish(given.model_dir, repository, wanted, given.architecture, given.engine, environ)
    for target, tag in wanted.items():
        print(f"image: {tag} {'pushed' if target in pushed else 'was there'}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
