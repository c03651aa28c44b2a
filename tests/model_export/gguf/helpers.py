"""GGUF files made of checkpoints by the `gguf` package's own writer and quantizer, and by hand."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

from model_export.checkpoint import Checkpoint
from model_export.config import ModelConfig, load_config
from model_export.decoder import decoder, expected_tensors
from model_export.gguf.families import FAMILIES
from model_export.gguf.pretokenizers import PRE_TOKENIZERS
from model_export.gguf.tensors import INSIDE, OUTSIDE
from model_export.rope import llama3_factors
from model_export.scalings import LongRope

Kinds = str | Mapping[str, str]
Changes = Callable[[gguf.GGUFWriter], object]


def theirs(name: str, family: str = "llama") -> str:
    """llama.cpp's name of a checkpoint's tensor."""
    outside = {ours: name for name, ours in OUTSIDE.items()}
    if name in outside:
        return outside[name]
    _, _, layer, rest = name.split(".", 3)
    part, _, kind = rest.rpartition(".")
    inside = {**INSIDE, **FAMILIES[family].inside}
    return f"blk.{layer}.{ {ours: name for name, ours in inside.items()}[part] }.{kind}"


def neighbours(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of q or k as llama.cpp's converter lays them for Llama: rotary pairs side by side."""
    return rows.reshape(heads, 2, len(rows) // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def write_gguf(
    checkpoint: Path,
    path: Path,
    kind: Kinds = "F32",
    change: Changes = lambda writer: None,
    **options: Any,
) -> Path:
    """Write a checkpoint of `bench.checkpoint` as GGUF.

    Args:
        checkpoint: the directory.
        path: the file.
        kind: ggml's type of the matrices, for all or by the end of llama.cpp's name; others are F32.
        change: adds to the metadata before it is written.
        options: of `gguf.GGUFWriter`.
    """
    config = load_config(checkpoint)
    family = {"mistral": "llama", "gemma3_text": "gemma3"}.get(config.family, config.family)
    writer = gguf.GGUFWriter(path, family, **options)
    _add_config(writer, config)
    _add_features(writer, config)
    _add_tokenizer(writer, checkpoint)
    change(writer)
    source = Checkpoint.open(checkpoint, config)
    for name in expected_tensors(config):
        values = source.read(name)
        if name.endswith("norm.weight"):
            values = values + np.float32(config.norm_offset)
        if FAMILIES[family].neighbours and (".q_proj." in name or ".k_proj." in name):
            values = neighbours(
                values, config.num_attention_heads if ".q_proj." in name else config.num_key_value_heads
            )
        _add_tensor(writer, theirs(name, family), values, kind)
    if config.rope_scaling and config.rope_scaling.kind == "llama3":
        factors = llama3_factors(decoder(config).ropes[0][1], config.rope_scaling).astype(np.float32)
        writer.add_tensor("rope_freqs.weight", factors)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_config(writer: gguf.GGUFWriter, config: ModelConfig) -> None:
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.rotary_dim or config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    if config.rope_scaling and config.rope_scaling.kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_scaling.factor)


def _add_features(writer: gguf.GGUFWriter, config: ModelConfig) -> None:
    """What only some families have."""
    if config.family == "granite":
        writer.add_embedding_scale(config.embedding_factor)
        writer.add_residual_scale(config.residual_factor)
        writer.add_attention_scale(config.attention_scale or 0.0)
        writer.add_logit_scale(1 / config.logits_factor)
    if config.sliding_window is not None:
        writer.add_sliding_window(config.sliding_window)
    if config.attention_softcap is not None:
        writer.add_attn_logit_softcapping(config.attention_softcap)
    if config.logits_softcap is not None:
        writer.add_final_logit_softcapping(config.logits_softcap)
    if isinstance(config.rope_scaling, LongRope):
        writer.add_rope_scaling_orig_ctx_len(config.rope_scaling.original_max_position_embeddings)
        writer.add_rope_scaling_attn_factors(config.rope_scaling.attention_factor)
        for kind, factors in (("long", config.rope_scaling.long_factors), ("short", config.rope_scaling.short_factors)):
            writer.add_tensor(f"rope_factors_{kind}.weight", np.array(factors, dtype=np.float32))


def _add_tokenizer(writer: gguf.GGUFWriter, checkpoint: Path) -> None:
    described = json.loads((checkpoint / "tokenizer.json").read_text())
    vocab, added = described["model"]["vocab"], {token["id"] for token in described["added_tokens"]}
    expression = described["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    name = next(n for n, p in PRE_TOKENIZERS.items() if p.expressions == (expression,) and not p.ignore_merges)
    settings = json.loads((checkpoint / "tokenizer_config.json").read_text())
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(name)
    writer.add_token_list(sorted(vocab, key=vocab.__getitem__))
    writer.add_token_types([gguf.TokenType.CONTROL if i in added else gguf.TokenType.NORMAL for i in range(len(vocab))])
    writer.add_token_merges([" ".join(merge) for merge in described["model"]["merges"]])
    writer.add_bos_token_id(vocab[settings["bos_token"]])
    writer.add_eos_token_id(vocab[settings["eos_token"]])
    writer.add_add_bos_token(True)
    writer.add_chat_template(settings["chat_template"])


def _add_tensor(writer: gguf.GGUFWriter, name: str, values: NDArray[np.float32], kinds: Kinds) -> None:
    kind = kinds if isinstance(kinds, str) else next((k for end, k in kinds.items() if name.endswith(end)), "F32")
    if values.ndim == 1 or kind == "F32":
        writer.add_tensor(name, values)
        return
    number = GGMLQuantizationType[kind]
    writer.add_tensor(name, gguf.quants.quantize(values, number), raw_dtype=number)


# ---------------------------------------------------------------- by hand

TYPES = {"u8": (0, "<B"), "i32": (5, "<i"), "u32": (4, "<I"), "f32": (6, "<f"), "bool": (7, "<B"), "u64": (10, "<Q")}


def text(value: str | bytes) -> bytes:
    """A string as the format has it."""
    content = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(content)) + content


def entry(key: str, kind: str, value: Any) -> bytes:
    """A metadata entry: a scalar of `TYPES`, or a "text"."""
    if kind == "text":
        return text(key) + struct.pack("<I", 8) + text(value)
    number, form = TYPES[kind]
    return text(key) + struct.pack("<I", number) + struct.pack(form, value)


def texts(key: str, values: Sequence[str | bytes]) -> bytes:
    """A metadata entry that is an array of strings."""
    return text(key) + struct.pack("<IIQ", 9, 8, len(values)) + b"".join(map(text, values))


def tensor(name: str, sizes: Sequence[int], kind: int = 0, offset: int = 0) -> bytes:
    """An entry of the list of tensors."""
    return text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)


def file(
    entries: Sequence[bytes] = (),
    tensors: Sequence[bytes] = (),
    data: bytes = b"",
    version: int = 3,
    counts: tuple[int, int] | None = None,
    alignment: int = 32,
) -> bytes:
    """A whole file; `counts` are those that it announces, of tensors and entries."""
    announced = counts or (len(tensors), len(entries))
    start = b"GGUF" + struct.pack("<IQQ", version, *announced) + b"".join(entries) + b"".join(tensors)
    return start + bytes(-len(start) % alignment) + data
