"""`python -m bench.baselines`: ours and the plain ways to have a model in a function, started and asked in turns.

Everything is made of one checkpoint of random weights, but distilgpt2, which has its own shape. In each round each
program is started once, so that the machine's drift hits all alike. On a lazily loaded disk (`--profile near`) each
gets a root with just its own files.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.baselines.models import Models, prepare, s3_with
from bench.baselines.programs import REFERENCE, REPOSITORY, Program, firebrick, from_image, from_s3, llama_cpp
from bench.baselines.report import summarize, table
from bench.baselines.roots import root_of, size_of
from bench.baselines.starts import Start, measure
from bench.checkpoint import SHAPES
from bench.cold_start import disk
from bench.cold_start.disk import Unavailable
from bench.cold_start.profiles import PROFILES
from bench.cold_start.roots import make_image
from bench.llama_cpp.build import build
from bench.llama_cpp.build import program as llama_program
from bench.llama_cpp.errors import NotBuilt, PeerError
from bench.machine import print_ceiling

NAMES = ("firebrick", "stock", "optimum", "llama.cpp", "from_image", "from_s3", "distilgpt2", "distilgpt2-int4")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 2 where this machine can't do it."""
    args = _parse(arguments)
    try:
        _run(args)
    except (Unavailable, PeerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.baselines", description="Ours and the plain ways.")
    parser.add_argument("--shape", choices=list(SHAPES), default="llama-3.2-1b-quarter", help="(%(default)s)")
    parser.add_argument("--only", action="append", choices=NAMES, help="a program; repeatable (all)")
    parser.add_argument("--profile", choices=list(PROFILES), default="warm", help="the disk (%(default)s)")
    parser.add_argument("--isa", default="avx2", help="of llama.cpp's build (%(default)s)")
    parser.add_argument("--rounds", type=int, choices=range(1, 100), metavar="N", default=3, help="(%(default)s)")
    parser.add_argument("--tokens", type=int, default=16, help="of the answer whose speed is measured (%(default)s)")
    parser.add_argument("--work", type=Path, default=Path("build/baselines"), help="(%(default)s)")
    return parser.parse_args(arguments)


def _run(args: argparse.Namespace) -> None:
    profile, names = PROFILES[args.profile], args.only or list(NAMES)
    if profile.lazy and (reason := disk.obstacle()):
        raise Unavailable(f"--profile {args.profile}: {reason}")
    machine = print_ceiling()
    work = args.work.resolve()
    if "llama.cpp" in names:
        _have_llama(args.isa)
    models = prepare(names, args.shape, work, args.isa, REFERENCE)
    if profile.lazy:
        disk.own_namespace()
    with ExitStack() as stack:
        compared = {name: _program(name, models, args.isa, machine["threads"], stack) for name in names}
        summaries = (_lazily if profile.lazy else _in_turns)(compared, args, work)
    print(table(summaries))
    told = {"bench": "baselines", "shape": args.shape, "profile": args.profile, "rounds": args.rounds}
    print(json.dumps({**told, "programs": summaries, "machine": machine}))


def _have_llama(isa: str) -> None:
    try:
        llama_program("llama-server", isa)
    except NotBuilt:
        build(isa, len(os.sched_getaffinity(0)))


def _program(name: str, models: Models, isa: str, threads: int, stack: ExitStack) -> Program:
    match name:
        case "firebrick":
            return firebrick("native kernels", models.native)
        case "stock":
            return firebrick("the same for onnxruntime's own kernels", models.stock)
        case "optimum":
            return firebrick("optimum's graph, onnxruntime's own quantizer and kernels", models.optimum)
        case "llama.cpp":
            return llama_cpp(models.gguf, isa, threads)
        case "from_image":
            return from_image("torch, transformers, checkpoint in the image", models.checkpoint)
        case "from_s3":
            return from_s3(stack.enter_context(s3_with(models)), models.bucket, models.prefix)
        case "distilgpt2":
            return from_image("distilgpt2's shape by transformers", models.distilgpt2)
        case _:
            return firebrick("the same by optimum in our server", models.distilgpt2_int4)


def _in_turns(compared: Mapping[str, Program], args: argparse.Namespace, work: Path) -> dict[str, dict[str, Any]]:
    """With everything in the page cache."""
    images, starts = {}, dict[str, list[Start]]()
    for name, program in compared.items():
        with root_of(program, work) as root:
            images[name] = size_of(root)
        measure(program, 1)
    for number in range(args.rounds):
        for name, program in compared.items():
            starts.setdefault(name, []).append(_told(number, name, measure(program, args.tokens)))
    return {name: summarize(program.what, starts[name], images[name]) for name, program in compared.items()}


def _lazily(compared: Mapping[str, Program], args: argparse.Namespace, work: Path) -> dict[str, dict[str, Any]]:
    """From a disk whose chunks are fetched when they are touched; one program after the other, for want of room."""
    lazydisk = disk.compile_disk(work / "target")
    image, summaries = work / "image.ext4", {}
    for name, program in compared.items():
        try:
            with root_of(program, work) as root:
                size = size_of(root)
                make_image(root, image)
            starts = [_told(n, name, _start(program, args, lazydisk, image, work)) for n in range(args.rounds)]
            summaries[name] = summarize(program.what, starts, size)
        finally:
            image.unlink(missing_ok=True)
    return summaries


def _start(program: Program, args: argparse.Namespace, lazydisk: Path, image: Path, work: Path) -> Start:
    with disk.lazy(lazydisk, image, PROFILES[args.profile], work) as mounted, disk.container(mounted.root):

        def enter() -> None:
            os.chroot(mounted.root)
            os.chdir(REPOSITORY)

        return measure(program, args.tokens, enter)


def _told(number: int, name: str, start: Start) -> Start:
    print(f"{number + 1}. {name}: ready {start.ready:.2f} s, first token {start.first_token:.2f} s", flush=True)
    return start


if __name__ == "__main__":
    sys.exit(main())
