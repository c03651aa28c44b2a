"""`python -m bench.llama_cpp`: build llama.cpp, feed it a checkpoint, time it.

build --isa avx2                              its programs, from the pinned sdist
gguf CHECKPOINT --type Q4_0 --out FILE        converted and quantized by its own tools
bench --gguf FILE --isa avx2                  tokens per second, one JSON line last
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.llama_cpp.build import COMMIT, VARIANTS, VERSION, build
from bench.llama_cpp.convert import QUANTIZED, REFERENCE_PYTHON, convert, quantize
from bench.llama_cpp.gguf import read_tensors, types_by_class
from bench.llama_cpp.speed import speed
from bench.machine import print_ceiling
from handler.engine.threads import resolve_threads
from model_export.errors import ExportError


def run_build(args: argparse.Namespace) -> None:
    """Build a variant."""
    print(build(args.isa, args.jobs))


def run_gguf(args: argparse.Namespace) -> None:
    """Convert and quantize; the unquantized file lies beside the result meanwhile."""
    with tempfile.TemporaryDirectory(dir=args.out.parent) as work:
        lossless = Path(work) / "lossless.gguf"
        convert(args.checkpoint, lossless, args.reference_python)
        quantize(lossless, args.out, args.type, resolve_threads(os.environ), args.isa)
    size = args.out.stat().st_size
    print(json.dumps({"gguf": str(args.out), "bytes": size, "types": types_by_class(read_tensors(args.out))}))


def run_bench(args: argparse.Namespace) -> None:
    """Time prefill and decode."""
    machine = print_ceiling()
    found = speed(args.gguf, args.isa, args.threads, args.prefill, args.depth, args.tokens, args.repetitions)
    names = list(found["on"])
    print(f"{'tokens/s, flash attention':<26}" + "".join(f"{name:>14}" for name in names))
    for attention, row in found.items():
        print(f"{attention:<26}" + "".join(f"{row[name]:>14.2f}" for name in names))
    facts = {"gguf": str(args.gguf), "isa": args.isa, "threads": args.threads, "llama_cpp": COMMIT, "sdist": VERSION}
    print(json.dumps({"bench": "llama_cpp", **facts, "tokens_per_second": found, "machine": machine}))


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    form = argparse.RawDescriptionHelpFormatter
    result = argparse.ArgumentParser(prog="python -m bench.llama_cpp", description=__doc__, formatter_class=form)
    commands = result.add_subparsers(required=True, metavar="COMMAND")
    isa = argparse.ArgumentParser(add_help=False)
    isa.add_argument("--isa", choices=VARIANTS, default="avx2", help="variant of llama.cpp (%(default)s)")

    one = commands.add_parser("build", parents=[isa], help="build its programs")
    one.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="(%(default)s)")
    one.set_defaults(run=run_build)

    one = commands.add_parser("gguf", parents=[isa], help="make a GGUF file of a checkpoint")
    one.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    one.add_argument("--type", choices=QUANTIZED, default="Q4_0", help="(%(default)s)")
    one.add_argument("--out", type=Path, required=True, metavar="FILE")
    one.add_argument("--reference-python", type=Path, default=REFERENCE_PYTHON, metavar="FILE", help="(%(default)s)")
    one.set_defaults(run=run_gguf)

    one = commands.add_parser("bench", parents=[isa], help="measure prefill and decode")
    one.add_argument("--gguf", type=Path, required=True, metavar="FILE")
    one.add_argument("--threads", type=int, default=resolve_threads(os.environ), help="(%(default)s)")
    one.add_argument("--prefill", type=int, nargs="+", default=[128, 512], help="lengths of prompts (%(default)s)")
    one.add_argument("--depth", type=int, nargs="+", default=[0, 4096], help="cached before decoding (%(default)s)")
    one.add_argument("--tokens", type=int, default=32, help="to decode (%(default)s)")
    one.add_argument("--repetitions", type=int, default=3, help="(%(default)s)")
    one.set_defaults(run=run_bench)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = parser().parse_args(arguments)
    try:
        args.run(args)
    except (ExportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
