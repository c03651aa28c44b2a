"""`python -m bench.quality DIR… --against MODEL --text FILE`: how far artefacts are from the model they were made of.

The text is cut into windows; in each, every next-token distribution of an artefact is compared with the float model's,
which is an artefact of our own with `--quantization none`. Confidence intervals (95 %) are bootstrapped over windows.
`--llama Q4_0 Q4_K_M` adds what llama.cpp makes of the same model, from its own logits on the same token ids (see
`bench.llama_cpp`). `python -m bench.quality demo` scores the demo model's skills instead.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bench.llama_cpp.convert import KINDS, REFERENCE_PYTHON, converted
from bench.llama_cpp.gguf import bits_per_weight, read_tensors, types_by_class
from bench.llama_cpp.logits import GgufJudged
from bench.logits import Answers, Judged, Remembered
from bench.machine import print_ceiling
from model_export.errors import ExportError
from model_export.export import export
from model_export.inspect import summary
from model_export.options import ExportOptions
from model_export.reading import ReadArtefact, read_artefact
from model_export.source import resolve
from model_export.verify import log_softmax

Array = NDArray[np.float64]
RESAMPLES = 1000


@dataclass(frozen=True)
class Scores:
    """What was measured at each position, by window: every array is `(windows, positions)`.

    Attributes:
        nll: of the token that comes next in the text, in nats.
        divergence: Kullback-Leibler divergence from the float model, in nats.
        agreement: 1 where the likeliest token is the float model's.
        greedy: tokens that a greedy continuation has in common with the float model's, `(windows,)`.
    """

    nll: Array
    divergence: Array
    agreement: Array
    greedy: Array


def windows(tokenizer: Tokenizer, text: str, prefix: Sequence[int], length: int, count: int) -> NDArray[np.int64]:
    """Cut a text into windows of token ids, each begun by the tokenizer's own prefix: `(windows, length)`.

    Raises:
        SystemExit: the text is too short for one.
    """
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    body = length - len(prefix)
    found = min(count, len(ids) // body)
    if found < 2:
        raise SystemExit(f"error: the text has {len(ids)} tokens; two windows need {2 * body}: give a longer one")
    rows = np.array(ids[: found * body], dtype=np.int64).reshape(found, body)
    return np.hstack([np.tile(np.array(prefix, dtype=np.int64), (found, 1)), rows])


def judge(artefact: Answers, reference: Answers, ids: NDArray[np.int64], greedy_tokens: int) -> Scores:
    """Measure an artefact against the float model over windows `(windows, length)`."""
    nll, divergence, agreement, greedy = [], [], [], []
    for row in ids:
        expected, found = log_softmax(reference.logits(row)), log_softmax(artefact.logits(row))
        nll.append(-found[np.arange(len(row) - 1), row[1:]])
        divergence.append((np.exp(expected) * (expected - found)).sum(axis=1)[:-1])
        agreement.append((expected.argmax(axis=1) == found.argmax(axis=1))[:-1].astype(np.float64))
        prompt = row[: len(row) // 2].tolist()
        pair = (artefact.greedy(prompt, greedy_tokens), reference.greedy(prompt, greedy_tokens))
        greedy.append(float(_common(*pair)))
    return Scores(np.array(nll), np.array(divergence), np.array(agreement), np.array(greedy))


def _common(first: list[int], second: list[int]) -> int:
    pairs = zip(first, second, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def interval(values: Array, seed: int = 0) -> tuple[float, float]:
    """The bootstrapped 95 % interval of the mean of values `(windows,)`."""
    draws = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


STATISTICS: dict[str, Callable[[Scores, NDArray[np.int64]], float]] = {
    "perplexity": lambda s, rows: float(np.exp(s.nll[rows].mean())),
    "kl_mean": lambda s, rows: float(s.divergence[rows].mean()),
    "kl_p99": lambda s, rows: float(np.percentile(s.divergence[rows], 99)),
    "top1_agreement": lambda s, rows: float(s.agreement[rows].mean()),
    "greedy_match_tokens": lambda s, rows: float(s.greedy[rows].mean()),
}


def statistics(scores: Scores, seed: int = 0) -> dict[str, Any]:
    """Sum the scores up: every statistic, and its bootstrapped 95 % interval under `NAME_ci`."""
    count = len(scores.nll)
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, count, (RESAMPLES, count))
    result: dict[str, Any] = {}
    for name, function in STATISTICS.items():
        result[name] = round(function(scores, np.arange(count)), 6)
        sampled = [function(scores, rows) for rows in draws]
        result[f"{name}_ci"] = [round(float(v), 6) for v in np.percentile(sampled, [2.5, 97.5])]
    return result


def measure(directories: Sequence[Path], model: str, text: str, args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Judge every artefact against the model; gives the statistics by directory.

    Raises:
        ExportError: the model can't be exported, or a directory is no artefact.
    """
    with tempfile.TemporaryDirectory(prefix="firebrick-") as work:
        source = resolve(model, None)
        export(source, Path(work) / "float", ExportOptions(quantization="none"))
        model_itself = Judged(Path(work) / "float", args.threads)
        artefact = model_itself.artefact
        reference = Remembered(model_itself, Path(work))
        tokenizer = Tokenizer.from_file(str(Path(work) / "float" / "tokenizer.json"))
        length = min(args.window, artefact.context_length // 2)
        ids = windows(tokenizer, text, artefact.prefix_ids, length, args.windows)
        results = {"float": {**bits(32.0), **statistics(judge(reference, reference, ids, args.greedy))}}
        for directory in directories:
            scores = judge(Judged(directory, args.threads), reference, ids, args.greedy)
            results[str(directory)] = {**artefact_bits(read_artefact(directory)), **statistics(scores)}
        parameters = summary(read_artefact(Path(work) / "float"))["parameters"]
        for kind, gguf in converted(source, args.llama, Path(work), args.reference_python, args.threads):
            tensors = read_tensors(gguf)
            with GgufJudged(gguf, artefact.eos_token_ids, length + args.greedy, args.threads) as judged:
                scores = judge(judged, reference, ids, args.greedy)
            theirs = bits(bits_per_weight(tensors, parameters))
            results[f"llama.cpp {kind}"] = {**theirs, "types": types_by_class(tensors), **statistics(scores)}
    return results


def artefact_bits(read: ReadArtefact) -> dict[str, float]:
    """Bits per weight as stored, and with every f32 scale as the f16 that its value fits."""
    facts = summary(read)
    scales = sum(t.nbytes // 4 for name, t in read.tensors.items() if name.endswith("_scale") and t.dtype == "F32")
    return bits(facts["bits_per_weight"], facts["bits_per_weight"] - 16 * scales / facts["parameters"])


def bits(stored: float, f16_scales: float | None = None) -> dict[str, float]:
    """Both ways to count bits per weight; they differ only where scales are stored as f32."""
    found = {"bits_per_weight": stored, "bits_per_weight_f16_scales": stored if f16_scales is None else f16_scales}
    return {name: round(value, 3) for name, value in found.items()}


def table(results: dict[str, dict[str, Any]]) -> str:
    """The figures as a Markdown table."""
    heads = ("artefact", "bits", "with f16 scales", "perplexity", "KL mean", "KL p99", "top-1", "greedy")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, row in results.items():
        low, high = row["kl_mean_ci"]
        lines.append(
            f"| {name} | {row['bits_per_weight']:.2f} | {row['bits_per_weight_f16_scales']:.2f} "
            f"| {row['perplexity']:.4f} | {row['kl_mean']:.5f} "
            f"({low:.5f}–{high:.5f}) | {row['kl_p99']:.4f} | {row['top1_agreement']:.2%} "
            f"| {row['greedy_match_tokens']:.1f} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    if list(arguments or sys.argv[1:])[:1] == ["demo"]:
        from bench import skills

        return skills.main(list(arguments or sys.argv[1:])[1:])
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description="Compare artefacts with their model.")
    parser.add_argument("directories", type=Path, nargs="*", metavar="DIR")
    parser.add_argument("--against", required=True, metavar="MODEL", help="the checkpoint, directory or hub id")
    parser.add_argument("--text", type=Path, required=True, metavar="FILE", help="UTF-8 text, not the calibration's")
    parser.add_argument("--window", type=int, default=256, help="tokens (%(default)s)")
    parser.add_argument("--windows", type=int, default=64, help="at most so many (%(default)s)")
    parser.add_argument("--greedy", type=int, default=32, help="tokens to continue each window's half by (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="(%(default)s)")
    parser.add_argument("--llama", nargs="+", choices=KINDS, default=[], metavar="TYPE", help="%(choices)s")
    parser.add_argument("--reference-python", type=Path, default=REFERENCE_PYTHON, metavar="FILE", help="(%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw bits against divergence: .png, .svg or .pdf")
    args = parser.parse_args(arguments)
    if args.plot and args.plot.suffix not in (".png", ".svg", ".pdf"):
        parser.error(f"--plot {args.plot}: expected a file that ends in .png, .svg or .pdf")
    try:
        text = args.text.read_text(encoding="utf-8")
        machine = print_ceiling()
        results = measure(args.directories, args.against, text, args)
    except (ExportError, OSError, UnicodeDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(results))
    line = json.dumps({"bench": "quality", "artefacts": results, "machine": machine})
    if args.json:
        args.json.write_text(line + "\n")
    if args.plot:
        from bench.plot import draw  # matplotlib takes a second

        draw(results, args.plot)
    print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
