"""`python -m bench.sensitivity MODEL --text FILE`: which weights lose most in 4 bits.

For each class of weights, or with `--single` for each weight, the mean divergence from the float model is measured
when only these have 4 bits (by search) and all others are as they were, in plain numpy. Beside it stands what the
exporter expects from its calibration text without measuring; `--bits-per-weight` makes its plan of that.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.machine import print_ceiling
from bench.quality import interval, windows
from model_export.calibration import load_windows
from model_export.config import ModelConfig
from model_export.errors import ExportError
from model_export.options import ExportOptions
from model_export.parallel import workers
from model_export.reference import logits
from model_export.sensitivity import WINDOWS, Sensitivity, rounding_errors
from model_export.source import Source, resolve
from model_export.tokenizer import load_tokenizer, read_facts
from model_export.verify import log_softmax
from model_export.weights import Weight, plan

Ids = NDArray[np.int64]


def groups(weights: Sequence[Weight], single: bool) -> dict[str, list[Weight]]:
    """The quantized weights by class, such as down_proj, or one by one."""
    found: dict[str, list[Weight]] = {}
    for weight in weights:
        if weight.bits is not None:
            found.setdefault(weight.name if single else weight.name.split(".")[-2], []).append(weight)
    return found


def divergences(config: ModelConfig, weights: Sequence[Weight], rounded: Sequence[Weight], ids: Ids) -> list[float]:
    """The mean divergence in each window when some weights are in 4 bits."""
    by_name, chosen = {weight.name: weight for weight in weights}, {weight.name for weight in rounded}

    def original(name: str) -> NDArray[np.float32] | None:
        return by_name[name].rows.read(0, by_name[name].rows.shape[0]) if name in by_name else None

    def changed(name: str) -> NDArray[np.float32] | None:
        matrix = original(name)
        return matrix - rounding_errors(matrix, by_name[name]) if matrix is not None and name in chosen else matrix

    result = []
    for row in ids:
        expected, found = (log_softmax(logits(config, weight, row)) for weight in (original, changed))
        result.append(float((np.exp(expected) * (expected - found)).sum(axis=1).mean()))
    return result


def measure(source: Source, text: str, args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Give measured and expected divergence of every group.

    Raises:
        ExportError: the model can't be read.
    """
    (config, _), tokenizer = source.decoder(), load_tokenizer(source.directory)
    facts, options = read_facts(source.directory, config, tokenizer), ExportOptions()
    context = options.context_length(config)
    weights = plan(config, options, source.checkpoint(config))
    own = load_windows(None, tokenizer, facts, context, config.vocab_size)[:WINDOWS]
    with workers(args.threads) as threads:
        costs = Sensitivity(config, weights, own, threads).costs()
    ids = windows(tokenizer, text, facts.prefix_ids, min(args.window, context), args.windows)
    return {
        name: _row(divergences(config, weights, group, ids), group, costs)
        for name, group in groups(weights, args.single).items()
    }


def _row(found: Sequence[float], group: Sequence[Weight], costs: Mapping[str, float]) -> dict[str, Any]:
    values, expected = sum(prod(weight.rows.shape) for weight in group), sum(costs[weight.name] for weight in group)
    mean = float(np.mean(found))
    return {
        "weights": values,
        "kl_mean": round(mean, 7),
        "kl_mean_ci": [round(v, 7) for v in interval(np.array(found))],
        "kl_expected": round(expected, 7),
        "kl_per_million": round(mean / values * 1e6, 7),
    }


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures as a Markdown table, the largest divergence a weight first."""
    lines = [
        "| only these in 4 bits | weights | KL mean | KL a million weights | expected KL |",
        "|---|---|---|---|---|",
    ]
    for name, row in sorted(results.items(), key=lambda item: -float(item[1]["kl_per_million"])):
        low, high = row["kl_mean_ci"]
        lines.append(
            f"| {name} | {row['weights']:,} | {row['kl_mean']:.5f} ({low:.5f}–{high:.5f}) "
            f"| {row['kl_per_million']:.5f} | {row['kl_expected']:.5f} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.sensitivity", description="Say which weights need bits.")
    parser.add_argument("model", metavar="MODEL", help="the checkpoint, directory or hub id")
    parser.add_argument("--text", type=Path, required=True, metavar="FILE", help="UTF-8 text, not the calibration's")
    parser.add_argument("--single", action="store_true", help="weight by weight instead of class by class")
    parser.add_argument("--window", type=int, default=256, help="tokens (%(default)s)")
    parser.add_argument("--windows", type=int, default=32, help="at most so many (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="(%(default)s)")
    args = parser.parse_args(arguments)
    try:
        text = args.text.read_text(encoding="utf-8")
        machine = print_ceiling()
        results = measure(resolve(args.model, None), text, args)
    except (ExportError, OSError, UnicodeDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(results))
    print(json.dumps({"bench": "sensitivity", "groups": results, "machine": machine}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
