"""What the command lines of this package share: their arguments, and errors in one line on stderr with an exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from handler.errors import StartupError
from image.errors import ImageError

INTERRUPTED = 130


def engine_parser(name: str, description: str) -> argparse.ArgumentParser:
    """A parser of `python -m image.{name}` that takes an engine."""
    parser = argparse.ArgumentParser(f"python -m image.{name}", description=description)
    parser.add_argument("--engine", default="", help="docker, podman or buildah; default: the first that works")
    return parser


def model_parser(name: str, description: str) -> argparse.ArgumentParser:
    """One that takes an artefact besides."""
    parser = engine_parser(name, description)
    parser.add_argument("model_dir", type=Path, metavar="MODEL_DIR", help="an artefact made by `make export`")
    return parser


def images_parser(name: str, description: str) -> argparse.ArgumentParser:
    """One that takes images besides."""
    parser = engine_parser(name, description)
    parser.add_argument("image", nargs="*", default=["firebrick:stream", "firebrick:worker"])
    return parser


def exit_code(work: Callable[[], None]) -> int:
    """Do a command's work.

    Returns:
        0; 2 if something that the user can mend prevented it; 130 after Ctrl-C.
    """
    try:
        work()
    except (ImageError, StartupError) as error:
        print(f"firebrick: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a full disk, a folder that can't be written
        print(f"firebrick: {error}", file=sys.stderr)
        return ImageError.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0
