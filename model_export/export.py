"""Checkpoint directory → artefact directory, from beginning to end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_export import artefact, graph, pooling, prefixes, safetensors_file, tokenizer
from model_export.budget import bits_per_weight, check_budget, spend, widest
from model_export.calibrate import Calibrator
from model_export.calibration import load_windows
from model_export.config import ModelConfig
from model_export.errors import PoolingUnsupported
from model_export.files import Files
from model_export.formats import chat_formats
from model_export.heads import HeadLayout
from model_export.keeping import keep
from model_export.options import Embeddings, ExportOptions
from model_export.parallel import Workers, workers
from model_export.progress import Progress
from model_export.resume import PartStore, state_key
from model_export.safetensors_file import Layout
from model_export.sensitivity import WINDOWS, Sensitivity
from model_export.source import Source
from model_export.tokenizer import TokenizerFacts
from model_export.weights import EMBEDDING, HEAD, Weight, plan

MEGABYTE = 1_000_000


def export(source: Source, out: Path, options: ExportOptions) -> None:
    """Turn a checkpoint or a GGUF file into an artefact.

    Args:
        source: from `model_export.source.resolve`.
        out: directory to make; an artefact there is replaced.
        options: the user's choices.

    Raises:
        ExportError: a subclass for each thing that the user can mend; `out` is then as it was.
    """
    artefact.check_output(out)
    config, bare = source.decoder()
    options = replace(options, embeddings=_embeddings(source, options, bare))
    context = options.context_length(config)
    reference = tokenizer.load_tokenizer(source.directory)
    facts = tokenizer.read_facts(source.directory, config, reference)
    sampling = tokenizer.sampling_defaults(source.directory)
    formats = chat_formats(facts.chat_template)
    checkpoint = source.checkpoint(config)
    weights = plan(config, options, checkpoint)
    if options.rounding == "kept":
        weights = keep(weights)
    text = np.empty((0, 0), dtype=np.int64)
    if options.calibrates:
        text = load_windows(options.calibration, reference, facts, context, config.vocab_size)
    if options.bits_per_weight is not None:
        check_budget(weights, options.bits_per_weight, options.head_bits)
    with artefact.staging(out) as stage, workers(options.threads) as threads:
        _write_tokenizer(stage, source.directory, facts)
        tokenizer.check_parity(reference, stage / tokenizer.TOKENIZER_BINARY, facts.chat_template)
        if options.prefixes:  # described as far as it is known, and again when all is
            early = describe(source, config, options, weights, facts, sampling, context, bare)
            artefact.write_json(stage / artefact.DESCRIPTION, {**early, **formats})
            prefixes.check(stage, options.prefixes)
        if options.bits_per_weight is not None:
            weights = _mixed(config, weights, options, text, threads)
        layout = safetensors_file.lay_out([spec for weight in weights for spec in weight.tensors], _metadata(options))
        artefact.check_space(stage, layout.nbytes + 32 * MEGABYTE)
        model = graph.build(config, options, weights, layout.offsets)
        (stage / artefact.GRAPH).write_bytes(graph.serialize(model))
        calibrator = None
        if options.quantization == "int4" and options.rounding == "calibrated":
            store = PartStore(artefact.state_directory(out), state_key(config, checkpoint, weights, text))
            artefact.check_space(stage, 2 * layout.nbytes + 32 * MEGABYTE - store.nbytes)
            calibrator = Calibrator(config, weights, text, threads, store)
            calibrator.run()
        digest = _write_weights(stage / artefact.WEIGHTS, layout, weights, threads, calibrator)
        description = describe(source, config, options, weights, facts, sampling, context, bare)
        artefact.write_json(stage / artefact.DESCRIPTION, {**description, **formats})
        prefixes.finish(stage, {artefact.WEIGHTS: digest}, options.prefixes, options.threads)


def _embeddings(source: Source, options: ExportOptions, bare: bool) -> Embeddings:
    """How vectors are made: as the user says, else as the checkpoint does.

    Raises:
        PoolingUnsupported: the checkpoint says something that isn't built, or has no head and nothing to do without.
    """
    try:
        chosen = options.embeddings or pooling.declared(source.directory) or "none"
    except PoolingUnsupported as error:
        raise PoolingUnsupported(f"{error}; --embeddings mean, last or none overrides it") from None
    if bare and chosen == "none":
        raise PoolingUnsupported(
            f"{source.directory} has no lm_head.weight, so it can give embeddings only: say --embeddings mean or last"
        )
    return chosen


def _mixed(
    config: ModelConfig, weights: Sequence[Weight], options: ExportOptions, text: NDArray[np.int64], threads: Workers
) -> list[Weight]:
    """Spend the budget on what the text says is worth it, if it isn't enough for all."""
    budget = options.bits_per_weight or 0.0
    if bits_per_weight(all_wide := widest(weights, options.head_bits)) <= budget:
        return all_wide
    measure = Sensitivity(config, weights, text[:WINDOWS], threads, options.rounding == "calibrated")
    return spend(weights, measure.costs(), budget, options.head_bits)


def _write_tokenizer(stage: Path, directory: Files, facts: TokenizerFacts) -> None:
    for name, content in tokenizer.tokenizer_files(directory, facts).items():
        (stage / name).write_bytes(content)
    tokenizer.write_binary(stage, stage / tokenizer.TOKENIZER_JSON)


def _write_weights(
    path: Path, layout: Layout, weights: Sequence[Weight], threads: Workers, calibrator: Calibrator | None
) -> str:
    progress = Progress(sum(spec.nbytes for weight in weights for spec in weight.tensors))

    def contents() -> Iterator[tuple[str, Iterable[memoryview]]]:
        for weight in weights:
            if calibrator is not None and calibrator.covers(weight):
                yield from calibrator.contents(weight)
            else:
                yield from weight.contents(threads.pool, window=threads.count + 1)

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
    weights: Sequence[Weight],
    facts: TokenizerFacts,
    sampling: dict[str, float | int],
    context: int,
    bare: bool = False,
) -> dict[str, Any]:
    """What firebrick.json says; docs/artefact.md explains each key."""
    quantized = options.quantization == "int4"
    head = next(weight for weight in reversed(weights) if weight.name in (HEAD, EMBEDDING))
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
            "head_bits": head.bits,
            "wide": [w.name for w in weights if w.bits == 8],
            "bits_per_weight": round(bits_per_weight(weights), 4) if quantized else None,
            "block_size": options.block_size if quantized else None,
            "activations": options.activations if quantized else "float32",
            "scale_bits": options.scales if quantized else None,
        },
        "tokenizer": {
            **{name: facts.special_tokens.get(name) for name in tokenizer.SPECIAL_TOKENS},
            "bos_token_id": facts.bos_token_id,
            "eos_token_ids": list(facts.eos_token_ids),
            "prefix_ids": list(facts.prefix_ids),
            "suffix_ids": list(facts.suffix_ids),
        },
        "sampling_defaults": sampling,
        "embeddings": {"pooling": options.pooling, "only": bare} if options.pooling else None,
        "checkpoint_config": asdict(config),
    }
