"""`python -m bench.cold_start DIR --profile near`: exec → ready → first token on a disk like Lambda's."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from bench.cold_start import disk
from bench.cold_start.disk import Mounted, Unavailable, container
from bench.cold_start.extents import Layout, layout_of
from bench.cold_start.plot import SUFFIXES, draw
from bench.cold_start.profiles import PROFILES, Profile
from bench.cold_start.prompts import NAMES, Prompt, prompts_of
from bench.cold_start.report import baked_ratios, file_lines, lines, summarize
from bench.cold_start.roots import Program, has_image, image_root, machine_root, make_image, require_artefact
from bench.cold_start.start import Start, measure
from bench.machine import print_ceiling

IMAGE = "localhost/firebrick:stream"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0, also where this machine can't do it, or 2 if something is wrong."""
    args = _parse(arguments)
    reason = disk.obstacle()
    if reason is not None:
        print(f"cold start: skipped, {reason}")
        print(json.dumps({"bench": "cold-start", "skipped": reason}))
        return 0
    try:
        _run(args)
    except Unavailable as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.cold_start", description="Start from a lazily loaded disk.")
    parser.add_argument("model_dir", type=Path, metavar="DIR", help="the artefact; it replaces the image's own")
    parser.add_argument(
        "--profile", action="append", choices=list(PROFILES), help="a disk; several are measured in turns (near, mixed)"
    )
    parser.add_argument(
        "--prompt",
        action="append",
        choices=NAMES,
        help="what is asked first: 128 tokens (short, the default), or the artefact's first prefix and 20 tokens, with "
        "what was computed at export (baked) or all of it read anew (unbaked)",
    )
    parser.add_argument("--rounds", type=int, default=3, help="starts of each (%(default)s)")
    parser.add_argument("--image", default=IMAGE, help="whose files and entry point (%(default)s)")
    parser.add_argument("--machine", action="store_true", help="no image: this machine's Python and packages")
    parser.add_argument(
        "--filesystem", choices=list(disk.FILE_SYSTEMS), default="ext4", help="(%(default)s, as Lambda)"
    )
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="added to the environment")
    parser.add_argument("--files", action="store_true", help="list what was fetched before ready, by file")
    parser.add_argument("--plot", type=Path, help="write a picture of the median starts, .png or .svg")
    parser.add_argument(
        "--work", type=Path, default=Path("build/cold_start"), help="for the disk's image (%(default)s)"
    )
    args = parser.parse_args(arguments)
    args.profile = args.profile or ["near", "mixed"]
    args.prompt = args.prompt or ["short"]
    if args.plot and args.plot.suffix not in SUFFIXES:
        parser.error(f"--plot {args.plot}: expected a file that ends in {' or '.join(SUFFIXES)}")
    if any("=" not in entry for entry in args.env):
        parser.error("--env: expected NAME=VALUE")
    return args


def _run(args: argparse.Namespace) -> None:
    require_artefact(args.model_dir)
    prompts = prompts_of(args.prompt, args.model_dir)
    machine = print_ceiling()
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    program = disk.compile_disk(work / "target")
    disk.own_namespace()
    image = work / f"image.{args.filesystem}"
    try:
        source, started = _make_image(args, image, work)
        layout = _layout(image, work)
        starts = _measure(args, prompts, started, program, image, layout, work)
    finally:
        image.unlink(missing_ok=True)
    summaries = {label: summarize(starts[label], profile, layout) for label, profile, _ in _cases(args, prompts)}
    print("\n".join(lines(summaries)))
    middle = {label: sorted(s, key=lambda start: start.ms["ready"])[len(s) // 2] for label, s in starts.items()}
    for label, start in middle.items() if args.files else ():
        print("\n".join([f"{label}: fetched before ready, besides weights", *file_lines(start, layout)]))
    if args.plot:
        draw(middle, layout, f"{args.model_dir.name}, from exec to the first token", args.plot)
    result = {
        "bench": "cold-start",
        "artefact": str(args.model_dir),
        "root": source,
        "filesystem": args.filesystem,
        "profiles": summaries,
        "baked_ratio": baked_ratios(starts),
    }
    print(json.dumps({**result, "machine": machine}))


def _cases(args: argparse.Namespace, prompts: Mapping[str, Prompt]) -> list[tuple[str, Profile, Prompt]]:
    """What is measured: its label, the disk, and what is asked."""
    return [
        (name if kind == "short" else f"{name} {kind}", PROFILES[name], prompt)
        for name in args.profile
        for kind, prompt in prompts.items()
    ]


def _make_image(args: argparse.Namespace, image: Path, work: Path) -> tuple[str, Program]:
    made: AbstractContextManager[tuple[Path, Program]]
    if not args.machine and has_image(args.image):
        source, made = args.image, image_root(args.image, args.model_dir, work)
    else:
        why = (
            "as asked for"
            if args.machine
            else f"podman has no image {args.image}; `make image ENGINE=podman` builds it"
        )
        source, made = "this machine's Python", machine_root(args.model_dir, work)
        print(f"root: NOT the image's but this machine's Python and packages ({why})")
    with made as (root, started):
        make_image(root, image)
    environ = {**started.environ, **dict(entry.split("=", 1) for entry in args.env)}
    size = f"{image.stat().st_size / 1e6:,.0f} MB as {args.filesystem}"
    print(f"root: {source}, {size}; starts {' '.join(started.command)}", flush=True)
    return source, Program(started.command, environ, started.directory)


def _layout(image: Path, work: Path) -> Layout:
    with disk.plain(image, work) as mounted:
        return layout_of(mounted.root)


def _measure(
    args: argparse.Namespace,
    prompts: Mapping[str, Prompt],
    started: Program,
    program: Path,
    image: Path,
    layout: Layout,
    work: Path,
) -> dict[str, list[Start]]:
    cases = _cases(args, prompts)
    starts: dict[str, list[Start]] = {label: [] for label, _, _ in cases}
    with image.open("rb") as file:  # into the page cache: the lazy disk is the only slow one
        while file.read(1 << 24):
            pass
    for number in range(max(1, args.rounds)):
        for label, profile, prompt in cases:
            with _disk(profile, program, image, work) as mounted, container(mounted.root):
                if not profile.lazy:
                    measure(started, mounted, layout, prompt)  # its own page cache is empty
                starts[label].append(measure(started, mounted, layout, prompt))
            ms = starts[label][-1].ms
            told = ", ".join(f"{milestone} {value:,.0f}" for milestone, value in ms.items())
            print(f"{number + 1}. {label}: {told}", flush=True)
    return starts


def _disk(profile: Profile, program: Path, image: Path, work: Path) -> AbstractContextManager[Mounted]:
    return disk.lazy(program, image, profile, work) if profile.lazy else disk.plain(image, work)


if __name__ == "__main__":
    sys.exit(main())
