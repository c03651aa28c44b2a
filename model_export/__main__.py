"""`python -m model_export MODEL --out DIR`: export a checkpoint to an artefact."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from model_export.artefact import state_directory
from model_export.errors import ExportError, OptionInvalid
from model_export.library import default_kernels
from model_export.options import (
    BLOCK_SIZES,
    DEFAULT_CONTEXT,
    Activations,
    Embeddings,
    ExportOptions,
    Kernels,
    KvCache,
    Quantization,
    Rounding,
)

KEEP = "keep"  # of the command line: --quantization int4, and no rounding
DEFAULT_ROUNDING: Rounding = "calibrated"  # the best, though it takes longest; code that exports names it


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m model_export",
        description="Export a Hugging Face checkpoint or a GGUF file (Llama, Mistral, Qwen2, Qwen3) to a Firebrick "
        "artefact.",
    )
    p.add_argument(
        "model",
        metavar="MODEL",
        help="checkpoint directory, GGUF file, or either on the hub (owner/name, owner/name/file.gguf)",
    )
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="artefact directory to make or replace")
    p.add_argument("--revision", help="branch, tag or commit on the hub")
    p.add_argument("--name", help="model id that the server answers to (default: hub id or directory name)")
    p.add_argument(
        "--quantization",
        choices=[*get_args(Quantization), KEEP],
        default=ExportOptions.quantization,
        help="none keeps float32; keep takes a GGUF file's Q4_0, Q5_0, Q8_0 or IQ4_NL blocks as they are (%(default)s)",
    )
    p.add_argument(
        "--rounding",
        choices=[rounding for rounding in get_args(Rounding) if rounding != "kept"],
        help="how 4-bit values are chosen: by largest magnitude, by least squared error, or for a text "
        f"(default: {DEFAULT_ROUNDING})",
    )
    p.add_argument("--calibration", type=Path, metavar="FILE", help="that text, .txt or .jsonl (default: our own)")
    p.add_argument(
        "--block-size",
        type=int,
        choices=BLOCK_SIZES,
        default=ExportOptions.block_size,
        help="weights that share a scale (%(default)s)",
    )
    p.add_argument(
        "--head-bits", type=int, choices=[4, 8], help="bits of the embedding and LM head (default: 8, or as budgeted)"
    )
    p.add_argument(
        "--scale-bits",
        type=int,
        choices=[8, 16],
        help="bits of the scales of 4-bit weights and of the head (default: 8 if native kernels could use them)",
    )
    p.add_argument(
        "--bits-per-weight",
        type=float,
        metavar="BITS",
        help="a budget, such as 4.8: 8 bits instead of 4 where they help most (default: linear layers in 4)",
    )
    p.add_argument(
        "--activations",
        choices=get_args(Activations),
        default=ExportOptions.activations,
        help="what Int4 weights are multiplied with: int8 is fast, float32 exact (%(default)s)",
    )
    p.add_argument(
        "--kernels",
        choices=get_args(Kernels),
        help="ours, which use the weights as they lie, or onnxruntime's (default: native if they are built)",
    )
    p.add_argument("--kv-cache", choices=get_args(KvCache), help="of the native kernels (default: int8)")
    p.add_argument(
        "--context", type=int, help=f"positions to hold (default: the smaller of the model's and {DEFAULT_CONTEXT})"
    )
    p.add_argument(
        "--embeddings",
        choices=get_args(Embeddings),
        help="how /v1/embeddings makes a text's vector of its hidden states (default: as the checkpoint says, or none)",
    )
    p.add_argument(
        "--prefix",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a prompt's beginning that the server shall know without reading it: .json messages or .txt; repeatable",
    )
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="(default: all, %(default)s)")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = parser().parse_args(arguments)
    try:
        if args.threads < 1:
            raise OptionInvalid(f"--threads {args.threads}: expected at least 1")
        kept = args.quantization == KEEP
        for option, value in (("--rounding", args.rounding), ("--head-bits", args.head_bits)):
            if kept and value:
                raise OptionInvalid(f"--quantization keep takes weights as they are; leave out {option} {value}")
        quantization: Quantization = "int4" if kept else args.quantization
        rounding: Rounding = "kept" if kept else (args.rounding or DEFAULT_ROUNDING)
        kernels, fallback = args.kernels, None
        if kernels is None:
            kernels, fallback = default_kernels(quantization, args.block_size, args.activations, os.environ)
        options = ExportOptions(
            quantization=quantization,
            rounding=rounding,
            calibration=args.calibration,
            block_size=args.block_size,
            head_bits=args.head_bits,
            scale_bits=args.scale_bits,
            bits_per_weight=args.bits_per_weight,
            activations=args.activations,
            kernels=kernels,
            kv_cache=args.kv_cache,
            context=args.context,
            embeddings=args.embeddings,
            name=args.name,
            prefixes=tuple(args.prefix),
            threads=args.threads,
        )
        # Imported here, so that --help and a wrong option answer at once.
        from model_export.export import export
        from model_export.inspect import describe_directory
        from model_export.source import resolve

        export(resolve(args.model, args.revision), args.out, options)
        if fallback:
            print(f"stock kernels, because {fallback}", file=sys.stderr)
        print(describe_directory(args.out))
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the output directory is as it was", file=sys.stderr)
        if state_directory(args.out).exists():
            print("the layers that are finished are kept: the same command goes on after them", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
