"""`python -m model_export.convert DIR [--kernels native|stock]`: an artefact for other kernels, without the checkpoint.

Or one with other prefixes: a cache belongs to its kernels, so they are always computed anew. Or one for embeddings.

The quantized values stay what they are, so that a way there and back gives the same bytes. An artefact of an older
format becomes one of the newest with the same values: its head is put in planes, its scales keep their 16 bits.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from model_export import artefact, graph, prefixes, safetensors_file
from model_export.errors import ExportError, OptionInvalid
from model_export.options import Embeddings, ExportOptions, Kernels, KvCache
from model_export.progress import Progress
from model_export.reading import ReadArtefact, read_artefact, read_metadata
from model_export.safetensors_file import Layout
from model_export.storage import Scales, Values
from model_export.stored import StoredWeights
from model_export.verify import verify_files
from model_export.weights import Weight, array_bytes, ordered, stored_for

MEGABYTE = 1_000_000
REWRITTEN = {artefact.GRAPH, artefact.WEIGHTS, artefact.DESCRIPTION}


def convert(
    directory: Path,
    out: Path,
    kernels: Kernels,
    kv_cache: KvCache | None = None,
    threads: int = 1,
    prefix_files: Sequence[Path] = (),
    embeddings: Embeddings | None = None,
) -> None:
    """Write an artefact for other kernels, with another cache, with other prefixes, or for embeddings.

    Those that it has are left out: what they hold is another cache's.

    Args:
        directory: the artefact.
        out: directory to make; the artefact itself, or another one, is replaced.
        kernels: "native" or "stock".
        kv_cache: of native kernels; None to keep what there is, else int8.
        threads: the result doesn't depend on it.
        prefix_files: what prompts begin with.
        embeddings: as for an export; None to keep what there is.

    Raises:
        ArtefactInvalid: DIR isn't a whole artefact.
        VerificationFailed: a file isn't what its manifest says.
        OptionInvalid: these kernels can't do what the artefact was exported with.
        PrefixRefused: a prefix can't be computed.
        ExportError: `out` can't be written, a subclass for each cause; it is then as it was.
    """
    artefact.check_output(out)
    read = read_artefact(directory)
    verify_files(read)  # or damage would get a new, matching hash
    stored = StoredWeights(read)
    options = target_options(read.options, kernels, kv_cache, embeddings)
    vectors = _embeddings(read, options)
    weights = [stored_for(weight, read.config, options) for weight in stored.planned.values()]
    layout = safetensors_file.lay_out([spec for w in weights for spec in w.tensors], _metadata(read, kernels))
    with artefact.staging(out) as stage:
        artefact.check_space(stage, layout.nbytes + 32 * MEGABYTE)
        for name in sorted(set(read.manifest["files"]) - REWRITTEN):
            if not artefact.PREFIX.fullmatch(name):
                shutil.copyfile(directory / name, stage / name)
        quantization = {
            **read.description["quantization"],
            "scale_bits": options.scales if options.quantization == "int4" else None,
        }
        changed = {
            "format_version": artefact.FORMAT_VERSION,
            "quantization": quantization,
            "kv_cache_dtype": options.kv_cache_dtype,
            "kernels": kernels,
            "embeddings": vectors,
        }
        artefact.write_json(stage / artefact.DESCRIPTION, {**read.description, **changed})
        prefixes.check(stage, prefix_files)
        model = graph.build(read.config, options, weights, layout.offsets)
        (stage / artefact.GRAPH).write_bytes(graph.serialize(model))
        digest = _write_weights(stage / artefact.WEIGHTS, layout, weights, stored, threads)
        prefixes.finish(stage, {artefact.WEIGHTS: digest}, prefix_files, threads)


def target_options(
    current: ExportOptions, kernels: Kernels, kv_cache: KvCache | None, embeddings: Embeddings | None = None
) -> ExportOptions:
    """What an export of the same weights for other kernels would have been asked for.

    Raises:
        OptionInvalid: no export could have been.
    """
    if kv_cache is None and kernels == "native":
        kv_cache = current.kv_cache
    return replace(current, kernels=kernels, kv_cache=kv_cache, embeddings=embeddings or current.embeddings)


def _embeddings(read: ReadArtefact, options: ExportOptions) -> dict[str, Any] | None:
    """What the description says of them."""
    only = bool((read.description.get("embeddings") or {}).get("only"))
    if only and options.pooling is None:
        raise OptionInvalid(f"--embeddings none: {read.directory} can give nothing else, for its model has no head")
    return {"pooling": options.pooling, "only": only} if options.pooling else None


def _metadata(read: ReadArtefact, kernels: Kernels) -> dict[str, str]:
    metadata = read_metadata(read.directory / artefact.WEIGHTS)
    metadata.pop("kernels", None)
    metadata["format_version"] = str(artefact.FORMAT_VERSION)
    return metadata if kernels == "stock" else {**metadata, "kernels": kernels}


def _write_weights(path: Path, layout: Layout, weights: Sequence[Weight], stored: StoredWeights, threads: int) -> str:
    progress = Progress(sum(spec.nbytes for weight in weights for spec in weight.tensors))
    with ThreadPoolExecutor(threads) as pool:

        def contents() -> Iterator[tuple[str, Iterable[memoryview]]]:
            for weight in weights:
                yield from _contents(weight, stored, pool, threads + 1)

        digest = safetensors_file.write(path, layout, contents(), progress.advance)
    progress.close()
    return digest


def _contents(
    weight: Weight, stored: StoredWeights, pool: ThreadPoolExecutor, window: int
) -> Iterator[tuple[str, Iterable[memoryview]]]:
    if weight.bits is None:
        slabs = ordered(pool, lambda slab: stored.stored(weight.name, *slab), weight.slabs(), window)
        yield weight.name, (array_bytes(rows) for rows in slabs)
        return

    def quantized(slab: tuple[int, int]) -> tuple[Values, Scales]:
        return stored.quantized(weight.name, *slab)

    yield from weight.stored(quantized, pool, window)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m model_export.convert", description="Change an artefact's kernels.")
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--kernels", choices=["native", "stock"], help="(default: as they are)")
    parser.add_argument("--kv-cache", choices=["f16", "int8"], help="of native kernels (default: as it is, else int8)")
    parser.add_argument("--out", type=Path, metavar="DIR2", help="where to write (default: DIR itself)")
    parser.add_argument(
        "--prefix", type=Path, action="append", default=[], metavar="FILE", help="as for an export; others are dropped"
    )
    parser.add_argument("--embeddings", choices=get_args(Embeddings), help="as for an export (default: as it is)")
    args = parser.parse_args(arguments)
    try:
        threads = len(os.sched_getaffinity(0))
        read = read_artefact(args.directory)
        dropped = len(prefixes.prefix_files(read))
        out = args.out or args.directory
        kernels = args.kernels or read.options.kernels
        convert(args.directory, out, kernels, args.kv_cache, threads, args.prefix, args.embeddings)
        if dropped and not args.prefix:
            print(f"left out {dropped} prefixes of {args.directory}: name their files with --prefix", file=sys.stderr)
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the output directory is as it was", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
