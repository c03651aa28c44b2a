"""Checkpoint directory → artefact directory, from beginning to end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model_export import artefact, graph, safetensors_file, tokenizer
from model_export.calibrate import Calibrator, covers
from model_export.calibration import load_windows
from model_export.checkpoint import Checkpoint
from model_export.config import ModelConfig, load_config
from model_export.heads import HeadLayout
from model_export.options import ExportOptions
from model_export.progress import Progress
from model_export.safetensors_file import Layout
from model_export.source import Source
from model_export.tokenizer import TokenizerFacts
from model_export.weights import Weight, plan

MEGABYTE = 1_000_000


def export(source: Source, out: Path, options: ExportOptions) -> None:
    """Turn a checkpoint into an artefact.

    Args:
        source: from `model_export.source.resolve`.
        out: directory to make; an artefact there is replaced.
        options: the user's choices.

    Raises:
        ExportError: a subclass for each thing that the user can mend; ``out`` is then as it was.
    """
    artefact.check_output(out)
    config = load_config(source.directory)
    context = options.context_length(config)
    reference = tokenizer.load_tokenizer(source.directory)
    facts = tokenizer.read_facts(source.directory, config, reference)
    sampling = tokenizer.sampling_defaults(source.directory)
    checkpoint = Checkpoint.open(source.directory, config)
    weights = plan(config, options, checkpoint)
    layout = safetensors_file.lay_out([spec for weight in weights for spec in weight.tensors], _metadata(options))
    calibration = None
    if options.quantization == "int4" and options.rounding == "calibrated":
        calibration = load_windows(options.calibration, reference, facts, context, config.vocab_size)
    with artefact.staging(out) as stage:
        artefact.check_space(stage, layout.nbytes + 32 * MEGABYTE)
        _write_tokenizer(stage, source.directory, facts)
        tokenizer.check_parity(reference, stage / tokenizer.TOKENIZER_BINARY, facts.chat_template)
        model = graph.build(config, options, weights, layout.offsets)
        (stage / artefact.GRAPH).write_bytes(graph.serialize(model))
        calibrator = None
        if calibration is not None:
            calibrator = Calibrator(config, {weight.name: weight for weight in weights}, calibration)
        digest = _write_weights(stage / artefact.WEIGHTS, layout, weights, options.threads, calibrator)
        artefact.write_json(stage / artefact.DESCRIPTION, describe(source, config, options, facts, sampling, context))
        artefact.write_manifest(stage, {artefact.WEIGHTS: digest})


def _write_tokenizer(stage: Path, directory: Path, facts: TokenizerFacts) -> None:
    for name, content in tokenizer.tokenizer_files(directory, facts).items():
        (stage / name).write_bytes(content)
    tokenizer.write_binary(stage, stage / tokenizer.TOKENIZER_JSON)


def _write_weights(
    path: Path, layout: Layout, weights: Sequence[Weight], threads: int, calibrator: Calibrator | None
) -> str:
    progress = Progress(sum(spec.nbytes for weight in weights for spec in weight.tensors))
    with ThreadPoolExecutor(threads) as pool:

        def contents() -> Iterator[tuple[str, Iterable[memoryview]]]:
            for weight in weights:
                if calibrator is not None and covers(weight):
                    yield from calibrator.contents(weight)
                else:
                    yield from weight.contents(pool, window=threads + 1)

        digest = safetensors_file.write(path, layout, contents(), progress.advance)
    progress.close()
    return digest


def _metadata(options: ExportOptions) -> dict[str, str]:
    # A file without "kernels" has the stock layout.
    kernels = {} if options.kernels == "stock" else {"kernels": options.kernels}
    return {
        "format": "firebrick",
        "format_version": str(artefact.FORMAT_VERSION),
        "quantization": options.quantization,
        "block_size": str(options.block_size),
        **kernels,
    }


def describe(
    source: Source,
    config: ModelConfig,
    options: ExportOptions,
    facts: TokenizerFacts,
    sampling: dict[str, float | int],
    context: int,
) -> dict[str, Any]:
    """What firebrick.json says; docs/artefact.md explains each key."""
    quantized = options.quantization == "int4"
    return {
        "format_version": artefact.FORMAT_VERSION,
        "model": {
            "id": options.name or source.model_id,
            "revision": source.revision,
            "architecture": config.family,
        },
        "context_length": context,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": HeadLayout(config.head_dim).stored,
        "kv_cache_dtype": options.kv_cache_dtype,
        "kernels": options.kernels,
        "quantization": {
            "method": options.quantization,
            "rounding": options.rounding if quantized else None,
            "bits": 4 if quantized else None,
            "head_bits": options.head_bits if quantized else None,
            "block_size": options.block_size if quantized else None,
            "activations": options.activations if quantized else "float32",
        },
        "tokenizer": {
            **{name: facts.special_tokens.get(name) for name in tokenizer.SPECIAL_TOKENS},
            "bos_token_id": facts.bos_token_id,
            "eos_token_ids": list(facts.eos_token_ids),
            "prefix_ids": list(facts.prefix_ids),
            "suffix_ids": list(facts.suffix_ids),
        },
        "sampling_defaults": sampling,
        "checkpoint_config": asdict(config),
    }
