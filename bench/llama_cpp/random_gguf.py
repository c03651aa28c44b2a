"""GGUF files of real sizes with random blocks, without a checkpoint, a converter or a quantizer.

How long a block takes doesn't depend on what is in it. Scales are such that the weights have a trained model's size, so
that numbers stay finite. There is no vocabulary in such a file: only token ids can be run.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 32
SLAB = 1 << 24  # weights made at a time
MAGIC, VERSION = b"GGUF", 3
UINT32, FLOAT32, STRING = 4, 6, 8  # types of metadata


@dataclass(frozen=True)
class Kind:
    """A ggml type: its number, weights and bytes of a block, bytes before each row, and where an f16 scale is."""

    number: int
    weights: int
    nbytes: int
    row_bytes: int = 0
    scale_at: int | None = None


F32 = Kind(0, 1, 4)
Q6_K = Kind(14, 256, 210, scale_at=208)
KINDS = {"Q4_0": Kind(2, 32, 18, scale_at=0), "IQ4_KS": Kind(144, 256, 136, row_bytes=4)}


def write_random_gguf(config: Mapping[str, Any], kind: str, out: Path) -> None:
    """Write a Llama of random weights: linear layers of one type, norms in F32, the tied head in Q6_K.

    That is what the quantizers give a head with tied embeddings.

    Args:
        config: one of `bench.checkpoint.SHAPES`.
        kind: one of `KINDS`.
        out: the file.
    """
    tensors = dict(_tensors(config, KINDS[kind]))
    metadata = _metadata(config)
    with out.open("wb") as file:
        file.write(MAGIC + struct.pack("<IQQ", VERSION, len(tensors), len(metadata)))
        for key, (number, value) in metadata.items():
            file.write(_string(key) + struct.pack("<I", number) + value)
        offset = 0
        for name, (shape, type_) in tensors.items():
            dimensions = shape[::-1]
            file.write(_string(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *dimensions))
            file.write(struct.pack("<IQ", type_.number, offset))
            offset += -(-_nbytes(shape, type_) // ALIGNMENT) * ALIGNMENT
        rng = np.random.default_rng(0)
        for shape, type_ in tensors.values():
            file.write(bytes(-file.tell() % ALIGNMENT))
            _write(file, shape, type_, rng)
        file.write(bytes(-file.tell() % ALIGNMENT))


def _metadata(config: Mapping[str, Any]) -> dict[str, tuple[int, bytes]]:
    numbers = {
        "block_count": config["num_hidden_layers"],
        "context_length": 8192,
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.key_length": config["head_dim"],
        "attention.value_length": config["head_dim"],
        "rope.dimension_count": config["head_dim"],
        "vocab_size": config["vocab_size"],
    }
    floats = {
        "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        "rope.freq_base": config["rope_theta"],
    }
    texts = {"general.architecture": "llama", "tokenizer.ggml.model": "no_vocab"}
    return {
        **{key: (STRING, _string(text)) for key, text in texts.items()},
        **{f"llama.{key}": (UINT32, struct.pack("<I", number)) for key, number in numbers.items()},
        **{f"llama.{key}": (FLOAT32, struct.pack("<f", number)) for key, number in floats.items()},
    }


def _tensors(config: Mapping[str, Any], kind: Kind) -> Iterator[tuple[str, tuple[tuple[int, ...], Kind]]]:
    hidden, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    query, key = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    yield "token_embd.weight", ((config["vocab_size"], hidden), Q6_K)
    yield "output_norm.weight", ((hidden,), F32)
    for layer in range(config["num_hidden_layers"]):
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{name}.weight", ((hidden,), F32)
        shapes = {"attn_q": (query, hidden), "attn_k": (key, hidden), "attn_v": (key, hidden)}
        shapes |= {"attn_output": (hidden, query), "ffn_gate": (inner, hidden), "ffn_up": (inner, hidden)}
        for name, shape in {**shapes, "ffn_down": (hidden, inner)}.items():
            yield f"blk.{layer}.{name}.weight", (shape, kind)


def _nbytes(shape: tuple[int, ...], kind: Kind) -> int:
    rows = shape[0] if len(shape) == 2 else 1
    return rows * (kind.row_bytes + shape[-1] // kind.weights * kind.nbytes)


def _write(file: BinaryIO, shape: tuple[int, ...], kind: Kind, rng: np.random.Generator) -> None:
    if kind is F32:
        file.write(np.ones(shape, dtype="<f4").tobytes())
        return
    rows, columns = shape
    for start in range(0, rows, max(1, SLAB // columns)):
        count = min(max(1, SLAB // columns), rows - start)
        blocks = rng.integers(0, 256, (count, columns // kind.weights, kind.nbytes), dtype=np.uint8)
        if kind.scale_at is not None:
            # Levels of Q4_0 reach 8; those of Q6_K 32, times an int8 of a group of 16.
            largest = 8 if kind.weights == 32 else 32 * 64
            _set(blocks[:, :, kind.scale_at : kind.scale_at + 2], np.float16(2 * columns**-0.5 / largest))
        content = blocks.reshape(count, -1)
        if kind.row_bytes:
            # Levels reach 127, times 5-bit scales.
            scale = np.full((count, 1), 2 * columns**-0.5 / (127 * 64), dtype="<f4").view(np.uint8)
            content = np.concatenate([scale, content], axis=1)
        file.write(np.ascontiguousarray(content).data)


def _set(place: NDArray[np.uint8], scale: np.float16) -> None:
    place[...] = np.array([scale], dtype="<f2").view(np.uint8)


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()
