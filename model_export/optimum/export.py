"""Checkpoint directory → artefact directory by optimum, from beginning to end."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

from model_export import artefact, prefixes, tokenizer
from model_export.errors import GraphUnsupported, OptimumFailed, OptionInvalid
from model_export.formats import chat_formats
from model_export.optimum.adapting import Adapted, adapt
from model_export.optimum.checking import expected_logits, logits_by_steps, probe
from model_export.optimum.loading import TASK, Loaded, load
from model_export.optimum.quantizing import Quantized, quantize
from model_export.optimum.storing import store
from model_export.options import ExportOptions
from model_export.source import Source
from model_export.tokenizer import TokenizerFacts
from model_export.verify import compare, relative_error

TOLERANCE = 1e-3  # of the float graph, relative to the largest logit
BUILDER = "optimum"
SLOWER = (
    "It is slower and larger than what our own builder makes of the architectures that it knows: onnxruntime's kernels "
    "without fusion, an embedding and a cache in float32, of which each step copies what it has read."
)


def export(source: Source, out: Path, options: ExportOptions) -> str:
    """Turn a checkpoint of any causal model that optimum knows into an artefact for stock kernels.

    Args:
        source: a checkpoint's directory.
        out: directory to make; an artefact there is replaced.
        options: with stock kernels and rounding to nearest.

    Returns:
        how near to the model it is, and what is worse than with our own builder.

    Raises:
        ExportError: a subclass for each thing that the user can mend; `out` is then as it was.
    """
    artefact.check_output(out)
    if source.tensors is not None:
        raise OptionInvalid(
            "--builder optimum reads checkpoint directories; a GGUF file goes with our own builder only"
        )
    model, loaded = load(source.path)
    context = loaded.context_length(options.context)
    reference = tokenizer.load_tokenizer(source.directory)
    facts = tokenizer.read_facts(source.directory, loaded, reference)
    ids = probe(loaded.vocab_size, context)
    expected = expected_logits(model, ids)
    with artefact.staging(out) as stage:
        tokenizer.write_files(stage, source.directory, facts, reference)
        with tempfile.TemporaryDirectory(dir=stage) as work:
            graph = _graph(model, loaded.family, Path(work))
            del model  # as much memory as the graph
            adapted = adapt(graph)
            float_graph = Path(work) / "adapted.onnx"
            ir.save(graph, float_graph)
            error = relative_error(logits_by_steps(float_graph, ids, context), expected)
            if not error <= TOLERANCE:
                raise GraphUnsupported(
                    f"optimum's graph of {loaded.family} gives logits that differ from transformers' by {error:.2g}, "
                    f"more than {TOLERANCE:g}: with a cache it computes something else"
                )
            quantized = quantize(graph, options, adapted.head) if options.quantization == "int4" else {}
            digest = store(graph, stage, options)
        report = compare(logits_by_steps(stage / artefact.GRAPH, ids, context), expected, expected)
        description = describe(source, options, loaded, adapted, quantized, facts, context)
        description["sampling_defaults"] = tokenizer.sampling_defaults(source.directory)
        artefact.write_json(stage / artefact.DESCRIPTION, {**description, **chat_formats(facts.chat_template)})
        tools = artefact.OPTIMUM_TOOLS
        prefixes.finish(stage, {artefact.WEIGHTS: digest}, options.prefixes, options.threads, tools)
    return (
        f"optimum's graph gives transformers' logits within {error:.1e}, as stored within {report.model_error:.1e}: KL "
        f"{report.kl_mean:.4f} nats, same likeliest token at {report.top1_agreement:.0%} of positions\n{SLOWER}"
    )


def _graph(model: Any, family: str, work: Path) -> ir.Model:
    """Let optimum export a model.

    Raises:
        OptimumFailed: it can't.
    """
    from optimum.exporters.onnx import onnx_export_from_model

    try:
        with warnings.catch_warnings(action="ignore"):  # of the tracer, on what `logits_by_steps` checks
            onnx_export_from_model(model, work, task=TASK, do_validation=False, no_post_process=True)
        return ir.load(work / "model.onnx")
    except Exception as error:  # torch and optimum raise anything
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise OptimumFailed(f"optimum can't export this {family}: {lines[0]}") from None


def describe(
    source: Source,
    options: ExportOptions,
    loaded: Loaded,
    adapted: Adapted,
    quantized: Mapping[str, Quantized],
    facts: TokenizerFacts,
    context: int,
) -> dict[str, Any]:
    """What firebrick.json says; docs/artefact.md explains each key."""
    bits = 8 * sum(weight.nbytes for weight in quantized.values())
    count = sum(weight.count for weight in quantized.values())
    wide = [name for name, weight in quantized.items() if weight.bits == 8]
    return {
        "format_version": artefact.FORMAT_VERSION,
        "builder": BUILDER,
        "model": {
            "id": options.name or source.model_id,
            "revision": source.revision,
            "architecture": loaded.family,
        },
        "parameters": loaded.parameters,
        "context_length": context,
        "vocab_size": loaded.vocab_size,
        "hidden_size": loaded.hidden_size,
        "num_hidden_layers": adapted.layers,
        "num_attention_heads": loaded.num_attention_heads,
        "num_key_value_heads": adapted.heads,
        "head_dim": adapted.head_dim,
        "kv_cache_dtype": options.kv_cache_dtype,
        "kernels": options.kernels,
        "quantization": {
            "method": options.quantization,
            "rounding": options.rounding if quantized else None,
            "bits": 4 if quantized else None,
            "head_bits": (8 if wide else 4) if quantized else None,
            "wide": wide,
            "bits_per_weight": round(bits / count, 4) if count else None,
            "block_size": options.block_size if quantized else None,
            "activations": options.activations if quantized else "float32",
        },
        "tokenizer": facts.described(),
        "embeddings": None,
    }
