"""`python -m bench.peers --shape SHAPE`: native kernels, stock onnxruntime, llama.cpp and ik_llama.cpp, in turns.

What is missing of checkpoint, artefacts, GGUF files and llama.cpp's programs is made first and kept in `build/peers`
(llama.cpp's converter needs the reference environment). All but one are made of one checkpoint of random weights: ours
with the exporter's plan of bits, llama.cpp's as its quantizer makes Q4_0. ik_llama.cpp, from its wheel for AVX2, gets
random blocks of Q4_0 and of its own IQ4_KS, repacked when they are loaded. Every round asks each engine once, so that
drift of the machine hits all alike; medians count, and for a peer the best of its types and of flash attention on and
off. Prints the ceiling, a table in Markdown and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from bench import ik_llama
from bench.checkpoint import SHAPES
from bench.decode import serving
from bench.llama_cpp.build import build, program
from bench.llama_cpp.errors import NotBuilt
from bench.llama_cpp.random_gguf import KINDS, write_random_gguf
from bench.llama_cpp.speed import speed
from bench.machine import print_ceiling
from bench.worker import Worker
from handler.artefact import WEIGHTS
from model_export.errors import ExportError
from model_export.reading import read_tensors

# What FIREBRICK_ISA is beside a variant of llama.cpp; none is the best that the machine has.
ISAS = {"avx2": "avx2", "avx512": "avx512", "native": ""}
SHORT = ("prefill_128", "prefill_512", "decode_0")
LONG = "decode_4096"
PEERS = {"": "llama.cpp", "ik_": "ik_llama.cpp"}  # what their ratios' names begin with, and their own
Figures = dict[str, dict[str, float]]


def prepare(shape: str, work: Path, isas: Sequence[str]) -> tuple[Path, Path, Path]:
    """Make what is missing of a shape's artefacts and GGUF file; gives native, stock, GGUF."""
    directory = work / shape
    checkpoint, native, stock, gguf = (directory / name for name in ("checkpoint", "native", "stock", "q4_0.gguf"))
    directory.mkdir(parents=True, exist_ok=True)

    def run(module: str, *arguments: str | Path) -> None:
        subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True, stdout=sys.stderr)

    if not (checkpoint / "config.json").exists():
        run("bench.checkpoint", "--shape", shape, "--out", checkpoint)
    for isa in isas:
        try:
            program("llama-bench", isa)
        except NotBuilt:
            build(isa, len(os.sched_getaffinity(0)))
    if not gguf.exists():
        run("bench.llama_cpp", "gguf", checkpoint, "--type", "Q4_0", "--out", gguf, "--isa", isas[0])
    if not native.exists():
        run("model_export", checkpoint, "--out", native, "--kernels", "native", "--rounding", "nearest")
    if not stock.exists():
        run("model_export.convert", native, "--kernels", "stock", "--out", stock)
    return native, stock, gguf


def prepare_ik(shape: str, work: Path) -> dict[str, Path]:
    """Fetch ik_llama.cpp and make what is missing of its GGUF files; gives them by type."""
    ik_llama.fetch()
    files = {kind: work / shape / f"random-{kind.lower()}.gguf" for kind in KINDS}
    for kind, file in files.items():
        if not file.exists():
            write_random_gguf(SHAPES[shape], kind, file)
    return files


def ask_ik(gguf: Path, attention: str, threads: int, tokens: int, deep: bool) -> dict[str, float]:
    """Load a file in ik_llama.cpp and ask for all figures once; it is let go then, for each takes a model's memory."""
    options = ("--worker", str(gguf), "--attention", attention, "--threads", str(threads))
    wanted = [*SHORT, *((LONG,) if deep else ())]
    with Worker("bench.ik_llama", *options) as worker:
        return {figure: float(worker.ask(line)) for figure, line in questions(tokens).items() if figure in wanted}


def questions(tokens: int) -> dict[str, str]:
    """What our workers are asked for each figure."""
    return {
        "prefill_128": "prefill 128",
        "prefill_512": "prefill 512",
        "decode_0": f"decode 16 {tokens}",
        LONG: f"decode 4096 {tokens}",
        "read_gb_per_s": "read",
    }


def measure(
    workers: Mapping[str, Worker],
    gguf: Path,
    ik: Mapping[str, Path],
    isa: str,
    threads: int,
    rounds: int,
    tokens: int,
    deep: bool,
) -> Figures:
    """Ask all engines in turns; gives medians by engine and figure, peers' as `llama.cpp fa on` and `… off`.

    Args:
        workers: ours by name.
        gguf: llama.cpp's model.
        ik: ik_llama.cpp's by type.
        isa: its variant.
        threads: of every engine.
        rounds: of the short measurements; those behind 4,096 tokens are made once, because llama.cpp prefills them.
        tokens: decoded each time.
        deep: whether those are made at all.
    """
    samples: dict[str, dict[str, list[float]]] = {}

    def add(engine: str, figure: str, value: float) -> None:
        samples.setdefault(engine, {}).setdefault(figure, []).append(value)

    for turn in range(rounds):
        for name, worker in workers.items():
            for figure, line in questions(tokens).items():
                if deep or figure != LONG:
                    add(name, figure, float(worker.ask(line)))
        depths = (0, 4096) if deep and turn == 0 else (0,)
        for attention, row in speed(gguf, isa, threads, (128, 512), depths, tokens, 1).items():
            for figure, value in row.items():
                add(f"llama.cpp fa {attention}", figure, value)
        for kind, file in ik.items():
            for attention in ("on", "off"):
                for figure, value in ask_ik(file, attention, threads, tokens, deep and turn == 0).items():
                    add(f"ik_llama.cpp {kind} fa {attention}", figure, value)
        print(f"round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
    return {engine: {figure: median(v) for figure, v in row.items()} for engine, row in samples.items()}


def token_bytes(artefact: Path) -> int:
    """Bytes of weights that a decoded token reads: all but a head's low plane, of which it takes a few groups."""
    tensors = read_tensors(artefact / WEIGHTS)
    return sum(tensor.nbytes for name, tensor in tensors.items() if not name.endswith("_low"))


def ratios(figures: Figures, weights: int) -> dict[str, float]:
    """Ours over each peer's best, and the part of the mapping's read bandwidth that decoding reaches."""
    ours, found = figures["native"], {}
    for prefix, peer in PEERS.items():
        rows = [row for name, row in figures.items() if name.startswith(f"{peer} ")]
        for figure in (*SHORT, LONG):
            if theirs := [row[figure] for row in rows if figure in row]:
                name = "decode" if figure == "decode_0" else figure
                found[f"{prefix}{name}_ratio"] = round(ours[figure] / max(theirs), 3)
    found["bandwidth_fraction"] = round(ours["decode_0"] * weights / ours["read_gb_per_s"] / 1e9, 3)
    return found


def table(figures: Figures) -> str:
    """The figures in Markdown, tokens per second."""
    names = [*SHORT, *((LONG,) if LONG in figures["native"] else ())]
    lines = ["| tokens/s | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for engine, row in figures.items():
        lines.append(f"| {engine} | " + " | ".join(f"{row[name]:.2f}" for name in names) + " |")
    return "\n".join(lines)


def plot(figures: Mapping[str, Figures], path: Path) -> None:
    """Draw a group of bars for each figure and ISA."""
    from matplotlib.figure import Figure  # only here: no other bench needs it

    engines = max(map(len, figures.values()))
    drawing = Figure(figsize=((1.4 * engines + 1) * len(figures) + 1, 4))
    axes = drawing.subplots(1, len(figures), squeeze=False)[0]
    for axis, (isa, rows) in zip(axes, figures.items(), strict=True):
        names = [name for name in (*SHORT, LONG) if name in rows["native"]]
        for index, (engine, row) in enumerate(rows.items()):
            places = [at + index * 0.8 / len(rows) for at in range(len(names))]
            bars = axis.bar(places, [row[name] for name in names], 0.75 / len(rows), label=engine)
            axis.bar_label(bars, fmt="%.1f", fontsize=7)
        axis.set_xticks([at + 0.3 for at in range(len(names))], names)
        axis.set_title(isa)
        axis.set_ylabel("tokens per second")
    axes[0].legend(fontsize=8)
    drawing.tight_layout()
    drawing.savefig(path, dpi=110)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables and the JSON line."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="llama-3.2-3b", help="(%(default)s)")
    parser.add_argument("--work", type=Path, default=Path("build/peers"), metavar="DIR", help="(%(default)s)")
    parser.add_argument("--isa", nargs="+", choices=ISAS, default=["native"], help="variants of llama.cpp, and ours")
    parser.add_argument("--rounds", type=int, default=3, help="(default 3)")
    parser.add_argument("--tokens", type=int, default=24, help="decoded each time (default 24)")
    parser.add_argument("--no-deep", action="store_true", help="leave out decoding behind 4,096 tokens")
    parser.add_argument("--no-ik", action="store_true", help="leave out ik_llama.cpp")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw a PNG")
    args = parser.parse_args(arguments)
    try:
        native, stock, gguf = prepare(args.shape, args.work, args.isa)
        ik = {} if args.no_ik else prepare_ik(args.shape, args.work)
    except (ExportError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    machine, weights = print_ceiling(), token_bytes(native)
    all_figures: dict[str, Figures] = {}
    result: dict[str, Any] = {}
    for isa in args.isa:
        with ExitStack() as stack:
            workers = {
                "native": stack.enter_context(Worker("bench.decode", "--worker", str(native), FIREBRICK_ISA=ISAS[isa])),
                "stock": stack.enter_context(Worker("bench.decode", "--worker", str(stock))),
            }
            for worker in workers.values():
                worker.ask("prefill 1")  # all have loaded before anything counts
            figures = measure(workers, gguf, ik, isa, machine["threads"], args.rounds, args.tokens, not args.no_deep)
        all_figures[isa] = figures
        result[isa] = ratios(figures, weights) | {"ready_ms": median(serving(native)["ready_ms"] for _ in range(5))}
        print(f"\n{isa}\n\n{table(figures)}\n", flush=True)
    if args.plot:
        plot(all_figures, args.plot)
    print(
        json.dumps({"bench": "peers", **result, "bytes_a_token": weights, "figures": all_figures, "machine": machine})
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
