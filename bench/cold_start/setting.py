"""What the benches on a lazy disk have in common: options, the disk's image, what they say where there is none."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.cold_start import disk
from bench.cold_start.disk import Mounted, Unavailable
from bench.cold_start.profiles import PROFILES, Profile
from bench.cold_start.roots import Program, has_image, image_root, layers_of, machine_root, make_image

IMAGE = "localhost/firebrick:stream"


@dataclass(frozen=True)
class Setting:
    """All that a start needs.

    Attributes:
        source: where the files are from, in words.
        started: the program.
        image: the disk's content.
        program: that plays a lazy disk.
        work: directory for what is mounted.
    """

    source: str
    started: Program
    image: Path
    program: Path
    work: Path

    def disk(self, profile: Profile) -> AbstractContextManager[Mounted]:
        """Mount the image on a disk of this kind."""
        if profile.lazy:
            return disk.lazy(self.program, self.image, profile, self.work)
        return disk.plain(self.image, self.work)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that all these benches have."""
    parser.add_argument("model_dir", type=Path, metavar="DIR", help="the artefact; it replaces the image's own")
    parser.add_argument(
        "--profile", action="append", choices=list(PROFILES), help="a disk; several are measured in turns (near, mixed)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (%(default)s)")
    parser.add_argument("--image", default=IMAGE, help="whose files and entry point (%(default)s)")
    parser.add_argument("--machine", action="store_true", help="no image: this machine's Python and packages")
    parser.add_argument(
        "--filesystem", choices=list(disk.FILE_SYSTEMS), default="ext4", help="(%(default)s, as Lambda)"
    )
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="added to the environment")
    parser.add_argument(
        "--work", type=Path, default=Path("build/cold_start"), help="for the disk's image (%(default)s)"
    )


def check_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with a message if an option is wrong; fill in what wasn't given."""
    args.profile = args.profile or ["near", "mixed"]
    if any("=" not in entry for entry in args.env):
        parser.error("--env: expected NAME=VALUE")
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: expected 1 or more")


def run(bench: str, measure: Callable[[], None]) -> int:
    """Run a bench; the exit code is 0, also where this machine can't do it, or 2 if something is wrong."""
    reason = disk.obstacle()
    if reason is not None:
        print(f"{bench.replace('-', ' ')}: skipped, {reason}")
        print(json.dumps({"bench": bench, "skipped": reason}))
        return 0
    try:
        measure()
    except Unavailable as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


@contextmanager
def prepared(args: argparse.Namespace, added: Mapping[str, bytes] | None = None) -> Iterator[Setting]:
    """Make the disk's image, in a mount namespace of this process's own, for as long as it is needed.

    Args:
        args: what the options say.
        added: files besides the image's: path below the root → content.

    Raises:
        Unavailable: it can't be made.
    """
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    program = disk.compile_disk(work / "target")
    disk.own_namespace()
    image = work / f"image.{args.filesystem}"
    try:
        source, started = _make_image(args, image, work, added or {})
        with image.open("rb") as file:  # into the page cache: the lazy disk is the only slow one
            while file.read(1 << 24):
                pass
        yield Setting(source, started, image, program, work)
    finally:
        image.unlink(missing_ok=True)


def _make_image(args: argparse.Namespace, image: Path, work: Path, added: Mapping[str, bytes]) -> tuple[str, Program]:
    made: AbstractContextManager[tuple[Path, Program]]
    if not args.machine and has_image(args.image):
        source, made, layers = args.image, image_root(args.image, args.model_dir, work), layers_of(args.image)
    else:
        why = (
            "as asked for"
            if args.machine
            else f"podman has no image {args.image}; `make image ENGINE=podman` builds it"
        )
        source, made, layers = "this machine's Python", machine_root(args.model_dir, work), []
        print(f"root: NOT the image's but this machine's Python and packages ({why})")
    with made as (root, started):
        for name, content in added.items():
            (root / name).write_bytes(content)
        make_image(root, image, layers)
    environ = {**started.environ, **dict(entry.split("=", 1) for entry in args.env)}
    size = f"{image.stat().st_size / 1e6:,.0f} MB as {args.filesystem}"
    print(f"root: {source}, {size}; starts {' '.join(started.command)}", flush=True)
    return source, Program(started.command, environ, started.directory)
