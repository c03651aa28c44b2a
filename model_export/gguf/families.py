"""What a GGUF file's metadata say that only some families have, in config.json's keys; names as llama.cpp has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from model_export.errors import ConfigInvalid

if TYPE_CHECKING:
    from model_export.gguf.config import Keys

Raw = dict[str, Any]
LONG_FACTORS, SHORT_FACTORS = "rope_factors_long.weight", "rope_factors_short.weight"
NO_ROPE_INTERVAL = 4  # SmolLM3's; llama.cpp takes it for granted, and so these of Gemma 3
GEMMA3_PATTERN, GEMMA3_LOCAL_THETA = 6, 10000.0
# Models of so many layers scale scores by their hidden size's share of a head, instead of by a head's own size.
GEMMA_27B = {"gemma2": 46, "gemma3": 62}


@dataclass(frozen=True)
class GgufFamily:
    """A family as llama.cpp has it.

    Attributes:
        architecture: the class in transformers.
        neighbours: whether rotary pairs are neighbours in the file; else they are halves, as in a checkpoint.
        inside: names of a layer's tensors, where they aren't Llama's.
        more: gives keys of config.json beyond Llama's.
    """

    architecture: str
    neighbours: bool = False
    inside: Mapping[str, str] = field(default_factory=dict)
    more: Callable[[Keys, Raw], Raw] = lambda keys, raw: {}


def granite(keys: Keys, raw: Raw) -> Raw:
    """Its factors."""
    names = {"embedding_multiplier": "embedding_scale", "residual_multiplier": "residual_scale"}
    names |= {"attention_multiplier": "attention.scale", "logits_scaling": "logit_scale"}
    defaults = {"attention_multiplier": raw["head_dim"] ** -0.5}
    return {ours: keys.number(keys.full(theirs), defaults.get(ours)) for ours, theirs in names.items()}


def smollm3(keys: Keys, raw: Raw) -> Raw:
    """Which layers don't tell positions apart."""
    return {"no_rope_layer_interval": NO_ROPE_INTERVAL, "use_sliding_window": False}


def phi3(keys: Keys, raw: Raw) -> Raw:
    """What part of a head turns, and LongRoPE's factors; raises ConfigInvalid."""
    turned = keys.integer(keys.full("rope.dimension_count"), raw["head_dim"]) or 0
    more: Raw = {"partial_rotary_factor": turned / raw["head_dim"]}
    factors = [keys.model.tensors.get(name) for name in (SHORT_FACTORS, LONG_FACTORS)]
    if None in factors:
        return more
    short, long = ([float(x) for x in tensor.read(0, tensor.info.shape[0])] for tensor in factors if tensor is not None)
    grown = keys.number(keys.full("rope.scaling.attn_factor"))
    scaling = {"rope_type": "longrope", "short_factor": short, "long_factor": long, "attention_factor": grown}
    original = keys.integer(keys.full("rope.scaling.original_context_length"))
    if original is None:
        raise ConfigInvalid(f"{keys.model.path} lacks {keys.full('rope.scaling.original_context_length')}")
    return {**more, "rope_scaling": scaling, "original_max_position_embeddings": original}


def gemma(keys: Keys, raw: Raw) -> Raw:
    """The scores' scale and the logits' cap."""
    large = raw["num_hidden_layers"] == GEMMA_27B[keys.architecture]
    return {
        "query_pre_attn_scalar": raw["hidden_size"] / raw["num_attention_heads"] if large else raw["head_dim"],
        "final_logit_softcapping": keys.number(keys.full("final_logit_softcapping")) or None,
    }


def gemma2(keys: Keys, raw: Raw) -> Raw:
    """The same, and the scores' cap."""
    caps = {f"{kind}_logit_softcapping": keys.full(f"{kind}_logit_softcapping") for kind in ("attn", "final")}
    return {**gemma(keys, raw), **{ours: keys.number(key) or None for ours, key in caps.items()}}


def gemma3(keys: Keys, raw: Raw) -> Raw:
    """The same, and what the layers with a window have."""
    return {
        **gemma(keys, raw),
        "sliding_window_pattern": keys.integer(keys.full("attention.sliding_window_pattern"), GEMMA3_PATTERN),
        "rope_local_base_freq": keys.number(keys.full("rope.freq_base_swa"), GEMMA3_LOCAL_THETA),
    }


AFTER = {"post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm"}
BOTH = {**AFTER, "ffn_norm": "pre_feedforward_layernorm"}
FUSED = {"attn_qkv": "self_attn.qkv_proj", "ffn_up": "mlp.gate_up_proj"}
# Its "llama" is Mistral too.
FAMILIES: Mapping[str, GgufFamily] = {
    "llama": GgufFamily("LlamaForCausalLM", neighbours=True),
    "qwen2": GgufFamily("Qwen2ForCausalLM"),
    "qwen3": GgufFamily("Qwen3ForCausalLM"),
    "granite": GgufFamily("GraniteForCausalLM", neighbours=True, more=granite),
    "olmo2": GgufFamily("Olmo2ForCausalLM", inside=AFTER),
    "smollm3": GgufFamily("SmolLM3ForCausalLM", neighbours=True, more=smollm3),
    "phi3": GgufFamily("Phi3ForCausalLM", inside=FUSED, more=phi3),
    "gemma2": GgufFamily("Gemma2ForCausalLM", inside=BOTH, more=gemma2),
    "gemma3": GgufFamily("Gemma3ForCausalLM", inside=BOTH, more=gemma3),
}
