"""A GGUF file's tensors under a Hugging Face checkpoint's names, their rows in its order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_export.config import ModelConfig
from model_export.errors import CheckpointDamaged
from model_export.gguf.config import EMBEDDING, HEAD, ROPE_FACTORS
from model_export.gguf.families import FAMILIES, LONG_FACTORS, SHORT_FACTORS
from model_export.gguf.kept import EXACT, codes
from model_export.gguf.shards import GgufModel, Placed

OUTSIDE = {EMBEDDING: "model.embed_tokens.weight", HEAD: "lm_head.weight", "output_norm.weight": "model.norm.weight"}
INSIDE = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@dataclass(frozen=True)
class GgufTensor:
    """A tensor whose rows may lie in another order in the file.

    Attributes:
        placed: where it lies.
        head_dim: of heads whose rotary pairs are neighbours in the file and halves in the checkpoint; None where the
            order is the same.
        offset: what the file has more than the checkpoint.
    """

    placed: Placed
    head_dim: int | None = None
    offset: float = 0.0

    readable = True

    @property
    def file(self) -> Path:
        return self.placed.file

    @property
    def dtype(self) -> str:
        return self.placed.info.type.name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.placed.info.shape

    @property
    def nbytes(self) -> int:
        return self.placed.info.nbytes

    @property
    def exact_bits(self) -> int | None:
        exact = EXACT.get(self.dtype)
        return exact.bits if exact and len(self.shape) == 2 else None

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        if self.head_dim is None:
            rows = self.placed.read(start, stop)
            return rows - np.float32(self.offset) if self.offset else rows
        first, last, order = self._heads(self.head_dim, start, stop)
        return self.placed.read(first, last)[order]

    def codes(self, start: int, stop: int, bits: int) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
        if self.head_dim is None:
            values, scales = codes(self.placed.blocks(start, stop), self.dtype, bits)
        else:
            first, last, order = self._heads(self.head_dim, start, stop)
            values, scales = codes(self.placed.blocks(first, last)[order], self.dtype, bits)
        if not np.isfinite(scales).all():
            name = self.placed.info.name
            raise CheckpointDamaged(
                f"{self.file}: {name} has a scale that is NaN or infinite in rows {start}-{stop - 1}"
            )
        return values, scales

    def _heads(self, head_dim: int, start: int, stop: int) -> tuple[int, int, NDArray[np.int64]]:
        """Rows of the file that whole heads take, and which of them are the rows `start:stop`, in their order."""
        first, last = start // head_dim * head_dim, -(-stop // head_dim) * head_dim
        half, rows = head_dim // 2, np.arange(start, stop)
        inside = rows % head_dim
        return first, last, rows - inside - first + inside % half * 2 + inside // half


def tensors(model: GgufModel, config: ModelConfig) -> Mapping[str, GgufTensor]:
    """List a model's tensors by the checkpoint's names; those that have none keep their own."""
    family = FAMILIES[str(model.metadata["general.architecture"])]
    found = {}
    for name, placed in model.tensors.items():
        if name in (ROPE_FACTORS, LONG_FACTORS, SHORT_FACTORS):
            continue  # it is in the config
        own = _checkpoint_name(name, {**INSIDE, **family.inside})
        permuted = family.neighbours and own.rpartition(".")[0].endswith(("self_attn.q_proj", "self_attn.k_proj"))
        # llama.cpp's converter adds what a Gemma leaves out of its norms.
        offset = config.norm_offset if own.endswith("norm.weight") else 0.0
        found[own] = GgufTensor(placed, config.head_dim if permuted else None, offset)
    return found


def _checkpoint_name(name: str, inside: Mapping[str, str]) -> str:
    if name in OUTSIDE:
        return OUTSIDE[name]
    block, _, rest = name.partition(".")
    number, _, rest = rest.partition(".")
    part, _, kind = rest.partition(".")
    if block != "blk" or part not in inside or kind not in ("weight", "bias"):
        return name
    return f"model.layers.{number}.{inside[part]}.{kind}"
