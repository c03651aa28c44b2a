"""`python -m model_export.inspect DIR`: what an artefact is, bits per weight, sizes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from model_export.decoder import expected_tensors
from model_export.errors import ExportError
from model_export.prefixes import prefix_tokens
from model_export.reading import ReadArtefact, read_artefact


def summary(read: ReadArtefact) -> dict[str, Any]:
    """Count weights and bytes.

    Returns:
        `parameters` of the checkpoint, `bits_per_weight` over all of them, scales and padding of heads included,
        `kv_cache_bytes_per_token`, `prefixes` with tokens, and `files` with sizes in bytes.
    """
    d = read.description
    parameters = _parameters(read)
    ignored = ("padding.", "model.rotary_emb.")
    weight_bytes = sum(tensor.nbytes for name, tensor in read.tensors.items() if not name.startswith(ignored))
    return {
        "parameters": parameters,
        "bits_per_weight": round(8 * weight_bytes / max(parameters, 1), 3),
        "kv_cache_bytes_per_token": 2 * d["num_hidden_layers"] * d["num_key_value_heads"] * _head_bytes(d),
        "prefixes": prefix_tokens(read),
        "files": {path.name: path.stat().st_size for path in sorted(read.directory.iterdir())},
    }


def _parameters(read: ReadArtefact) -> int:
    if read.builder == "optimum":
        return int(read.description["parameters"])
    return sum(map(prod, expected_tensors(read.config).values()))


def _head_bytes(description: Mapping[str, Any]) -> int:
    """Bytes of one key or value in the cache, its scale included."""
    width: int = description["head_dim"]
    return {"float32": 4 * width, "float16": 2 * width, "int8": width + 4}[description["kv_cache_dtype"]]


def describe_directory(directory: Path) -> str:
    """Describe an artefact in a few lines.

    Raises:
        ArtefactInvalid: it isn't one.
    """
    read = read_artefact(directory)
    d, facts = read.description, summary(read)
    model, quantization = d["model"], d["quantization"]
    revision = f" at {model['revision']}" if model["revision"] else ""
    own = read.builder == "firebrick"
    by, wide = ("", "embedding and head") if own else (f" by {read.builder}", "head")
    method = quantization["method"]
    if method != "none":
        method += (
            f" ({quantization['rounding']}, blocks of {quantization['block_size']}, "
            f"{wide} {quantization['head_bits']} bits, {len(quantization['wide'])} weights of "
            f"{sum(name.endswith('_scale') for name in read.tensors)} in 8 bits, "
            f"{quantization['activations']} activations)"
        )
    lines = [
        f"{model['id']}{revision} ({model['architecture']}{by}), artefact format {d['format_version']}",
        f"  weights    {facts['parameters']:,}, {facts['bits_per_weight']:.2f} bits each, {method}",
        f"  layers     {d['num_hidden_layers']} of {d['hidden_size']}, {d['num_attention_heads']} heads over "
        f"{d['num_key_value_heads']} of {d['head_dim']}, vocabulary {d['vocab_size']:,}",
        f"  context    {d['context_length']:,} tokens, {facts['kv_cache_bytes_per_token'] / 1e3:,.1f} kB of "
        f"{d['kv_cache_dtype']} cache each",
        f"  kernels    {d['kernels']}",
    ]
    if d.get("tool_format"):
        thoughts = d.get("reasoning_format", "none")
        lines.append(
            f"  chat       tools as {d['tool_format']}, thoughts {'as ' if thoughts != 'none' else ''}{thoughts}"
        )
    if d.get("embeddings"):
        lines.append(f"  embeddings {d['embeddings']['pooling']}{', no text' if d['embeddings']['only'] else ''}")
    if facts["prefixes"]:
        lines.append(f"  prefixes   of {', '.join(f'{tokens:,}' for tokens in facts['prefixes'])} tokens")
    lines += [f"  {size:>14,}  {name}" for name, size in facts["files"].items()]
    lines.append(f"  {sum(facts['files'].values()):>14,}  bytes in all")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m model_export.inspect", description="Say what an artefact is.")
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args(arguments)
    try:
        if args.json:
            read = read_artefact(args.directory)
            print(json.dumps({**read.description, **summary(read)}))
        else:
            print(describe_directory(args.directory))
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
