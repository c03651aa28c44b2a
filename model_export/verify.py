"""`python -m model_export.verify DIR [--against MODEL]`: whether an artefact is what it should be."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_export import artefact, reference
from model_export.config import ModelConfig
from model_export.errors import ExportError, VerificationFailed
from model_export.options import ExportOptions
from model_export.prefixes import verify_prefixes
from model_export.reading import ReadArtefact, read_artefact
from model_export.running import run_graph
from model_export.source import resolve
from model_export.stored import StoredWeights
from model_export.tokenizer import CHAT_TEMPLATE, TOKENIZER_BINARY, check_parity, load_tokenizer
from model_export.weights import plan

POSITIONS = 48  # tokens of the probe sequence
# Largest difference from the plain computation with the same weights, relative to the largest logit.
TOLERANCE = {"float32": 1e-4, "int8": 0.1}


@dataclass(frozen=True)
class LogitsReport:
    """How far the artefact's logits are from others.

    Attributes:
        graph_error: from a plain computation with the artefact's own weights; what the graph and kernels do wrong.
        model_error: from a plain computation with MODEL's weights; largest difference over the largest logit.
        kl_mean: mean Kullback-Leibler divergence of the next-token distribution from MODEL's, in nats.
        top1_agreement: share of positions with the same likeliest token as MODEL.
    """

    graph_error: float
    model_error: float
    kl_mean: float
    top1_agreement: float


def verify_files(read: ReadArtefact) -> int:
    """Hash every file.

    Returns:
        bytes hashed.

    Raises:
        VerificationFailed: a file isn't the manifest's, or isn't in it.
    """
    listed = read.manifest["files"]
    for path in sorted(read.directory.iterdir()):
        if path.name != artefact.MANIFEST and path.name not in listed:
            raise VerificationFailed(f"{path} is not in {artefact.MANIFEST}: remove it or export the model again")
    total = 0
    for name, entry in listed.items():
        path = read.directory / name
        if path.stat().st_size != entry["size"]:
            raise VerificationFailed(
                f"{path} has {path.stat().st_size} bytes instead of {entry['size']}; export the model again"
            )
        if artefact.sha256(path) != entry["sha256"]:
            raise VerificationFailed(f"{path} is damaged: its sha256 isn't the manifest's; export the model again")
        total += path.stat().st_size
    return total


def verify_tokenizer(read: ReadArtefact) -> int:
    """Hold both tokenizer forms against each other; gives the number of texts compared."""
    template = read.directory / CHAT_TEMPLATE
    text = template.read_text(encoding="utf-8") if template.is_file() else None
    return check_parity(load_tokenizer(read.directory), read.directory / TOKENIZER_BINARY, text)


def verify_logits(read: ReadArtefact, model: str, revision: str | None) -> LogitsReport:
    """Compare logits on a fixed random sequence: the artefact's, plain numpy's with its weights and with MODEL's.

    Raises:
        VerificationFailed: MODEL has another shape, or the graph computes something else than its weights say.
    """
    read.require_own("it was held against transformers when it was exported, and can't be computed without")
    source = resolve(model, revision)
    config, _ = source.decoder()
    _check_model(read, config)
    context = int(read.description["context_length"])
    ids = np.random.default_rng(0).integers(0, config.vocab_size, min(POSITIONS, context), dtype=np.int64)
    by_graph = run_graph(read, ids)
    options = ExportOptions(quantization="none", context=context)
    planned = {w.name: w for w in plan(config, options, source.checkpoint(config))}
    stored = StoredWeights(read)

    def own(name: str) -> NDArray[np.float32] | None:
        return stored.weight(name) if name in stored.planned else None

    def original(name: str) -> NDArray[np.float32] | None:
        return planned[name].rows.read(0, planned[name].rows.shape[0]) if name in planned else None

    same_weights = reference.logits(config, own, ids)
    model_weights = reference.logits(config, original, ids)
    report = compare(by_graph, same_weights, model_weights)
    limit = TOLERANCE[read.description["quantization"]["activations"]]
    if not report.graph_error <= limit:
        raise VerificationFailed(
            f"{read.directory}: logits differ by {report.graph_error:.2g} from a plain computation with the same "
            f"weights, more than {limit:g}; export the model again"
        )
    return report


def _check_model(read: ReadArtefact, config: ModelConfig) -> None:
    found = asdict(read.config)
    for key, there in asdict(config).items():
        if found[key] != there and key not in ("bos_token_id", "eos_token_ids"):  # these change no logits
            raise VerificationFailed(
                f"{read.directory} is no export of that model: {key} is {found[key]}, there {there}"
            )


def compare(
    by_graph: NDArray[np.float32], same_weights: NDArray[np.float32], model_weights: NDArray[np.float32]
) -> LogitsReport:
    """Measure differences between logits, each float32 `(S, vocab_size)`."""
    ours, theirs = log_softmax(by_graph), log_softmax(model_weights)
    divergence = (np.exp(theirs) * (theirs - ours)).sum(axis=1)
    agreement = by_graph.argmax(axis=1) == model_weights.argmax(axis=1)
    return LogitsReport(
        relative_error(by_graph, same_weights),
        relative_error(by_graph, model_weights),
        float(divergence.mean()),
        float(agreement.mean()),
    )


def relative_error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest difference over the largest expected value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Natural logarithms of the probabilities, row by row: `(S, vocab_size)`."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    normalized: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalized


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m model_export.verify", description="Check an artefact.")
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument(
        "--against", metavar="MODEL", help="the checkpoint or GGUF file (path or hub id) to compare logits with"
    )
    parser.add_argument("--revision", help="of MODEL on the hub")
    args = parser.parse_args(arguments)
    try:
        read = read_artefact(args.directory)
        print(f"files      ok, {verify_files(read):,} bytes hashed")
        print(f"tokenizer  ok, both forms agree on {verify_tokenizer(read)} texts")
        if tokens := verify_prefixes(read):
            print(f"prefixes   ok, {len(tokens)} of {', '.join(f'{count:,}' for count in tokens)} tokens")
        if args.against:
            report = verify_logits(read, args.against, args.revision)
            print(
                f"graph      ok, logits within {report.graph_error:.1e} of a plain computation with the same weights\n"
                f"model      logits within {report.model_error:.1e} of {args.against}, KL {report.kl_mean:.4f} nats, "
                f"same likeliest token at {report.top1_agreement:.0%} of positions"
            )
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
