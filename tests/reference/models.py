"""transformers on our checkpoints, and on the weights that an artefact holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, PreTrainedModel

from model_export.config import ModelConfig, load_config
from model_export.heads import HeadLayout
from model_export.reading import ReadArtefact, read_artefact
from model_export.stored import StoredWeights


def load(checkpoint: Path) -> PreTrainedModel:
    """Load a checkpoint in float32."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def logits(model: PreTrainedModel, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Run one sequence `(S,)`; gives `(S, vocab_size)`."""
    with torch.no_grad():
        return model(torch.from_numpy(ids)[None, :]).logits[0].numpy()


def last_logits(model: PreTrainedModel, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """The logits after one sequence, `(vocab_size,)`; the prefix goes through the cache in chunks."""
    cache = None
    with torch.no_grad():
        for start in range(0, len(ids), 1024):
            chunk = torch.from_numpy(ids[start : start + 1024])[None, :]
            result = model(chunk, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = result.past_key_values
    return result.logits[0, -1].numpy()


def load_with_artefact_weights(checkpoint: Path, artefact: Path) -> PreTrainedModel:
    """Load a checkpoint and put an artefact's weights, dequantized, in place of its own."""
    model = load(checkpoint)
    state = unfused(load_config(checkpoint), read_artefact(artefact))
    missing, unexpected = model.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in state.items()}, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}
    return model


def unfused(config: ModelConfig, read: ReadArtefact) -> dict[str, NDArray[np.float32]]:
    """Take an artefact's weights apart again: checkpoint name → float32 tensor."""
    heads = HeadLayout(config.head_dim)
    q, kv = config.num_attention_heads, config.num_key_value_heads
    state: dict[str, NDArray[np.float32]] = {}
    stored = StoredWeights(read)
    for name in stored.planned:
        if name.startswith("model.rotary_emb."):
            continue
        weight = stored.weight(name)
        if "qkv_proj" in name:
            for part, rows in zip("qkv", np.split(weight, [q * heads.stored, (q + kv) * heads.stored]), strict=True):
                state[name.replace("qkv_proj", f"{part}_proj")] = _unpad(rows, heads, q if part == "q" else kv)
        elif "gate_up_proj" in name:
            for part, rows in zip(("gate", "up"), np.split(weight, 2), strict=True):
                state[name.replace("gate_up_proj", f"{part}_proj")] = rows
        elif name.endswith("o_proj.weight"):
            state[name] = _unpad(weight.T, heads, q).T
        elif name.endswith(("q_norm.weight", "k_norm.weight")):
            state[name] = _unpad(weight, heads, 1) / np.float32(heads.norm_factor**0.5)
        else:
            state[name] = weight
    return state


def _unpad(rows: NDArray[np.float32], heads: HeadLayout, count: int) -> NDArray[np.float32]:
    index = heads.index(count)
    if index is None:
        return rows
    plain = np.empty((count * heads.head_dim, *rows.shape[1:]), dtype=np.float32)
    plain[index[index >= 0]] = rows[index >= 0]
    return plain
