"""Random checkpoints of real sizes, without a download: `python -m bench.checkpoint --shape llama-3.2-3b --out DIR`.

A Hugging Face directory with bf16 weights, written tensor by tensor, and a byte-level BPE tokenizer of the right size
whose merges are made up. The text that such a model gives is noise; its speed and memory are those of a trained one.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model_export import safetensors_file
from model_export.config import parse_config
from model_export.decoder import expected_tensors
from model_export.safetensors_file import TensorSpec

SPECIAL_TOKENS = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
    "{{ message.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def _llama(hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int, **others: Any) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "torch_dtype": "bfloat16",
        **others,
    }


_LLAMA32 = {
    "head_dim": 128,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "rope_theta": 500000.0,
    "rope_scaling": LLAMA3_ROPE,
}
_LLAMA31 = {**_LLAMA32, "tie_word_embeddings": False, "rope_scaling": {**LLAMA3_ROPE, "factor": 8.0}}
SHAPES: dict[str, dict[str, Any]] = {
    "llama-3.1-8b": _llama(4096, 14336, 32, 32, 8, **_LLAMA31),
    "llama-3.2-3b": _llama(3072, 8192, 28, 24, 8, **_LLAMA32),
    "llama-3.2-1b": _llama(2048, 8192, 16, 32, 8, **{**_LLAMA32, "head_dim": 64}),
    # A quarter of 1B's layers and vocabulary: what torch holds in float32 beside everything else.
    "llama-3.2-1b-quarter": _llama(2048, 8192, 4, 32, 8, **{**_LLAMA32, "head_dim": 64, "vocab_size": 32064}),
    "tiny": _llama(64, 192, 2, 4, 2, head_dim=16, vocab_size=512, max_position_embeddings=512, rope_theta=10000.0),
}


def write_checkpoint(config: Mapping[str, Any], out: Path, seed: int = 0, shards: int = 1) -> None:
    """Write a random checkpoint.

    Args:
        config: the content of config.json; `torch_dtype` "bfloat16", "float16" or "float32".
        out: directory, made if need be.
        seed: of every tensor, so that the order of writing doesn't matter.
        shards: number of safetensors files.
    """
    out.mkdir(parents=True, exist_ok=True)
    eos = len(SPECIAL_TOKENS) - 1
    full = {"bos_token_id": 0, "eos_token_id": [1, eos], **config}
    _write_json(out / "config.json", full)
    generation = {"bos_token_id": 0, "eos_token_id": full["eos_token_id"], "temperature": 0.6, "top_p": 0.9}
    _write_json(out / "generation_config.json", generation)
    write_tokenizer(out, int(config["vocab_size"]), seed)
    dtype = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}[config.get("torch_dtype", "bfloat16")]
    parsed = parse_config(full)
    tensors = [TensorSpec(n, dtype, shape) for n, shape in expected_tensors(parsed).items()]
    _write_weights(out, tensors, seed, shards, 1 - parsed.norm_offset)


def _write_weights(out: Path, tensors: Sequence[TensorSpec], seed: int, shards: int, norm: float) -> None:
    if shards == 1:
        _write_shard(out / "model.safetensors", tensors, seed, norm)
        return
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        name = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = tensors[shard::shards]
        _write_shard(out / name, part, seed, norm)
        weight_map |= {spec.name: name for spec in part}
    total = sum(spec.nbytes for spec in tensors)
    _write_json(out / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})


def _write_shard(path: Path, tensors: Sequence[TensorSpec], seed: int, norm: float) -> None:
    layout = safetensors_file.lay_out(tensors, {"format": "pt"}, alignment=1)
    safetensors_file.write(path, layout, ((spec.name, random_tensor(spec, seed, norm)) for spec in tensors))


def random_tensor(spec: TensorSpec, seed: int, norm: float = 1.0, rows: int = 1024) -> Iterator[bytes]:
    """Give a tensor's bytes a few rows at a time: norms near `norm`, the rest as a trained model's size of numbers."""
    rng = np.random.default_rng([seed, zlib.crc32(spec.name.encode())])
    columns = spec.shape[1:] or (1,)
    spread = np.float32(columns[0] ** -0.5 if len(spec.shape) == 2 else 0.1)
    for start in range(0, spec.shape[0], rows):
        values = rng.standard_normal((min(rows, spec.shape[0] - start), *columns), dtype=np.float32) * spread
        if spec.name.endswith("norm.weight"):
            values += norm
        yield _encode(values, spec.dtype)


def _encode(values: np.ndarray[Any, np.dtype[np.float32]], dtype: str) -> bytes:
    if dtype == "BF16":
        return (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    return values.astype(np.float16 if dtype == "F16" else np.float32).tobytes()


def write_tokenizer(out: Path, vocab_size: int, seed: int) -> None:
    """Write a byte-level BPE tokenizer with `vocab_size` entries, its special tokens first."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*SPECIAL_TOKENS, *alphabet]
    if vocab_size < len(tokens):
        raise SystemExit(f"error: a byte-level vocabulary needs at least {len(tokens)} entries, not {vocab_size}")
    merges = _merges(alphabet, vocab_size - len(tokens), seed)
    tokens += [a + b for a, b in merges]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL_TOKENS])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{SPECIAL_TOKENS[0]} $A", pair=None, special_tokens=[(SPECIAL_TOKENS[0], 0)]
    )
    tokenizer.save(str(out / "tokenizer.json"))
    special = {"bos_token": SPECIAL_TOKENS[0], "eos_token": SPECIAL_TOKENS[-1]}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **special, "chat_template": CHAT_TEMPLATE}
    _write_json(out / "tokenizer_config.json", config)


def _merges(alphabet: Sequence[str], count: int, seed: int) -> list[tuple[str, str]]:
    """Make merges up, letters only and short tokens more often than long ones.

    A merge is kept only if the merges before it split its token into just these two parts, as it is in a trained
    vocabulary; other tables are ambiguous, and tokenizers that read them differently are all right.
    """
    rng = np.random.default_rng([seed, 1])
    known = [c for c in alphabet if c.isascii() and c.islower()]
    ranks: dict[tuple[str, str], int] = {}
    seen = set(alphabet) | set(SPECIAL_TOKENS)
    while len(ranks) < count:
        for left_at, right_at in rng.random((4096, 2)) ** 2:
            left, right = known[int(len(known) * left_at)], known[int(len(known) * right_at)]
            token = left + right
            if len(token) > 12 or token in seen or _split(token, ranks) != [left, right]:
                continue
            seen.add(token)
            known.append(token)
            ranks[left, right] = len(ranks)
            if len(ranks) == count:
                break
    return list(ranks)


def _split(word: str, ranks: Mapping[tuple[str, str], int]) -> list[str]:
    """Byte-pair encoding of one word (Sennrich et al., 2016)."""
    parts = list(word)
    while len(parts) > 1:
        pairs = [ranks.get(pair, len(ranks)) for pair in itertools.pairwise(parts)]
        best = min(pairs)
        if best == len(ranks):
            break
        at = pairs.index(best)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.checkpoint", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--shape", choices=sorted(SHAPES), required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        print(f"error: {args.out} is there already and is not an empty directory; choose another", file=sys.stderr)
        return 2
    write_checkpoint(SHAPES[args.shape], args.out, args.seed)
    size = sum(path.stat().st_size for path in args.out.iterdir())
    print(json.dumps({"shape": args.shape, "out": str(args.out), "bytes": size, "seed": args.seed}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
