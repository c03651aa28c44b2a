"""`python -m bench.cold_start DIR --profile near`: exec → ready → first token on a disk like Lambda's."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.cold_start import disk
from bench.cold_start.disk import container
from bench.cold_start.extents import Layout, layout_of
from bench.cold_start.plot import SUFFIXES, draw
from bench.cold_start.profiles import PROFILES, Profile
from bench.cold_start.prompts import NAMES, Prompt, prompts_of
from bench.cold_start.report import baked_ratios, file_lines, lines, summarize
from bench.cold_start.roots import require_artefact
from bench.cold_start.setting import Setting, add_options, check_options, prepared, run
from bench.cold_start.start import Start, measure
from bench.machine import print_ceiling


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0, also where this machine can't do it, or 2 if something is wrong."""
    args = _parse(arguments)
    return run("cold-start", lambda: _run(args))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.cold_start", description="Start from a lazily loaded disk.")
    add_options(parser)
    parser.add_argument(
        "--prompt",
        action="append",
        choices=NAMES,
        help="what is asked first: 128 tokens (short, the default), or the artefact's first prefix and 20 tokens, with "
        "what was computed at export (baked) or all of it read anew (unbaked)",
    )
    parser.add_argument("--files", action="store_true", help="list what was fetched before ready, by file")
    parser.add_argument("--plot", type=Path, help="write a picture of the median starts, .png or .svg")
    args = parser.parse_args(arguments)
    args.prompt = args.prompt or ["short"]
    if args.plot and args.plot.suffix not in SUFFIXES:
        parser.error(f"--plot {args.plot}: expected a file that ends in {' or '.join(SUFFIXES)}")
    check_options(parser, args)
    return args


def _run(args: argparse.Namespace) -> None:
    require_artefact(args.model_dir)
    prompts = prompts_of(args.prompt, args.model_dir)
    machine = print_ceiling()
    with prepared(args) as setting:
        layout = _layout(setting)
        starts = _measure(args, prompts, setting, layout)
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
        "root": setting.source,
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


def _layout(setting: Setting) -> Layout:
    with disk.plain(setting.image, setting.work) as mounted:
        return layout_of(mounted.root)


def _measure(
    args: argparse.Namespace, prompts: Mapping[str, Prompt], setting: Setting, layout: Layout
) -> dict[str, list[Start]]:
    cases = _cases(args, prompts)
    starts: dict[str, list[Start]] = {label: [] for label, _, _ in cases}
    for number in range(args.rounds):
        for label, profile, prompt in cases:
            with setting.disk(profile) as mounted, container(mounted.root):
                if not profile.lazy:
                    measure(setting.started, mounted, layout, prompt)  # its own page cache is empty
                starts[label].append(measure(setting.started, mounted, layout, prompt))
            ms = starts[label][-1].ms
            told = ", ".join(f"{milestone} {value:,.0f}" for milestone, value in ms.items())
            print(f"{number + 1}. {label}: {told}", flush=True)
    return starts


if __name__ == "__main__":
    sys.exit(main())
