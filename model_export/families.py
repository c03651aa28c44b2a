"""The families of decoders: for each a function from config.json to what sets it apart from plain Llama.

A feature is a field of `model_export.config.ModelConfig`; one that isn't named has the field's default. What a key is
when config.json leaves it out is as in the family's `transformers` class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from model_export.errors import ArchitectureUnsupported, ConfigInvalid
from model_export.keys import Keys
from model_export.scalings import read_long_rope, read_rope, rope_keys

Features = dict[str, Any]
LAYERS_MAX = 10_000  # more are a damaged config.json, and even listing their tensors would take all memory
ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
FULL, SLIDING = "full_attention", "sliding_attention"


@dataclass(frozen=True)
class Family:
    """A family of decoders.

    Attributes:
        family: the name that the artefact records; `model_type` in config.json.
        features: reads them; raises as `model_export.config.parse_config`.
        defaults: values of keys that config.json may leave out.
        reads: keys that it understands, and that most families don't.
        bare: the class without a head, where its name doesn't follow from the other's.
    """

    family: str
    features: Callable[[Keys], Features]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    reads: frozenset[str] = frozenset()
    bare: str | None = None


def llama(keys: Keys) -> Features:
    """Biases as config.json says."""
    return {**attention_bias(keys), "mlp_bias": keys.boolean("mlp_bias", False)}


def mistral(keys: Keys) -> Features:
    """No biases; a window on all layers."""
    return windows(keys)


def qwen2(keys: Keys) -> Features:
    """Biases of q, k and v."""
    return {"qkv_bias": True, **qwen_windows(keys)}


def qwen3(keys: Keys) -> Features:
    """Norms of each head of q and k."""
    return {**attention_bias(keys), "qk_norm": True, **qwen_windows(keys)}


def granite(keys: Keys) -> Features:
    """A factor at the embedding, the scores, the residual stream and the logits."""
    return {
        **llama(keys),
        "embedding_factor": keys.number("embedding_multiplier", 1.0),
        "attention_scale": keys.number("attention_multiplier", 1.0),
        "residual_factor": keys.number("residual_multiplier", 1.0),
        "logits_factor": 1 / keys.number("logits_scaling", 1.0),
    }


def olmo2(keys: Keys) -> Features:
    """Norms after the blocks, and over all heads of q and of k."""
    return {**attention_bias(keys), "norms": "after", "qk_norm": True, "qk_norm_whole": True}


def smollm3(keys: Keys) -> Features:
    """Layers that don't tell positions apart."""
    layers, interval = keys.integer("num_hidden_layers", largest=LAYERS_MAX), keys.integer("no_rope_layer_interval", 4)
    turned = keys.values.get("no_rope_layers", [int((layer + 1) % interval != 0) for layer in range(layers)])
    if not isinstance(turned, list) or len(turned) != layers or not all(flag in (0, 1) for flag in turned):
        raise ConfigInvalid(f"no_rope_layers in config.json is {str(turned)[:80]!r}: expected {layers} zeros and ones")
    used = keys.boolean("use_sliding_window", False)
    return {
        **llama(keys),
        "unturned_layers": tuple(layer for layer, flag in enumerate(turned) if not flag),
        **(windows(keys, lambda layer: not turned[layer]) if used else {}),
    }


def phi3(keys: Keys) -> Features:
    """Fused projections; LongRoPE; heads of which only a part turns (Phi-4-mini)."""
    heads, hidden = keys.integer("num_attention_heads"), keys.integer("hidden_size")
    head_dim = keys.integer("head_dim", hidden // heads or None)
    share = rope_keys(keys).number("partial_rotary_factor", keys.number("partial_rotary_factor", 1.0))
    turned = int(head_dim * min(share, 1.0))
    if turned % 2 or not turned:
        raise ConfigInvalid(f"partial_rotary_factor in config.json is {share!r}: of heads of {head_dim}, {turned} turn")
    theta, scaling = read_long_rope(keys, turned // 2)
    return {
        "fused": True,
        "rotary_dim": None if turned == head_dim else turned,
        "rope_theta": theta,
        "rope_scaling": scaling,
        **windows(keys),
    }


def gemma2(keys: Keys) -> Features:
    """Scores are capped, and every other layer has a window."""
    return {
        **gemma(keys),
        "attention_softcap": keys.optional_number("attn_logit_softcapping"),
        **windows(keys, lambda layer: layer % 2 == 0),
    }


def gemma3(keys: Keys) -> Features:
    """Norms of each head of q and k; windows on most layers, which have a rope of their own."""
    pattern = keys.integer("sliding_window_pattern", 6)
    return {
        **gemma(keys),
        "qk_norm": True,
        **ropes(keys),
        **windows(keys, lambda layer: (layer + 1) % pattern != 0),
    }


def gemma(keys: Keys) -> Features:
    """Norms of 1 + w before and after the blocks, the embedding's factor, the logits' cap: what both Gemmas have."""
    return {
        **attention_bias(keys),
        "norms": "both",
        "norm_offset": 1.0,
        "hidden_act": activation(keys, "hidden_activation", "gelu_pytorch_tanh"),
        "embedding_factor": keys.integer("hidden_size") ** 0.5,
        "attention_scale": keys.number("query_pre_attn_scalar", 256) ** -0.5,
        "logits_softcap": keys.optional_number("final_logit_softcapping"),
    }


def ropes(keys: Keys) -> Features:
    """Those of layers without a window and with one; newer checkpoints have them under the kinds' names."""
    both = keys.values.get("rope_parameters")
    if not isinstance(both, dict) or FULL not in both:
        return {"local_rope_theta": keys.number("rope_local_base_freq", 10000.0)}
    (theta, scaling), (local, other) = (read_rope(Keys({"rope_parameters": both.get(k)})) for k in (FULL, SLIDING))
    if other is not None:
        raise ArchitectureUnsupported(f"rope_parameters of {SLIDING} with {other.kind} scaling isn't supported")
    return {"local_rope_theta": local, "rope_theta": theta, "rope_scaling": scaling}


def attention_bias(keys: Keys) -> Features:
    """Biases of all four projections of attention, or of none."""
    bias = keys.boolean("attention_bias", False)
    return {"qkv_bias": bias, "output_bias": bias}


def activation(keys: Keys, key: str = "hidden_act", default: str = "silu") -> str:
    """The activation, as `model_export.decoder.Gate` calls it."""
    name = keys.values.get(key, default)
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ArchitectureUnsupported(f"{key} {name!r} isn't supported; these are: {', '.join(sorted(ACTIVATIONS))}")
    return ACTIVATIONS[name]


def windows(keys: Keys, slides: Callable[[int], bool] = lambda layer: True) -> Features:
    """Which layers see the last tokens only, and how many; `slides` says it where config.json has no layer_types."""
    if "sliding_window" not in keys.values:
        return {}
    window, layers = keys.integer("sliding_window"), keys.integer("num_hidden_layers", largest=LAYERS_MAX)
    kinds = keys.values.get("layer_types", [SLIDING if slides(layer) else FULL for layer in range(layers)])
    if not isinstance(kinds, list) or len(kinds) != layers:
        raise ConfigInvalid(f"layer_types in config.json is {str(kinds)[:80]!r}: expected a list of {layers} names")
    for kind in kinds:
        if kind not in (FULL, SLIDING):
            raise ArchitectureUnsupported(
                f"layer_types has {kind!r}, which isn't supported; these are: {FULL}, {SLIDING}"
            )
    found = tuple(layer for layer, kind in enumerate(kinds) if kind == SLIDING)
    if not found:
        return {}
    return {"sliding_window": window, "window_layers": None if len(found) == layers else found}


def qwen_windows(keys: Keys) -> Features:
    """Qwen's windows count if they are used, and then in its last layers."""
    if not keys.boolean("use_sliding_window", False):
        return {}
    full = keys.values.get("max_window_layers", 28)
    if not isinstance(full, int) or isinstance(full, bool) or full < 0:
        raise ConfigInvalid(f"max_window_layers in config.json is {full!r}: expected a number of layers")
    return windows(keys, lambda layer: layer >= full)


GEMMA = {"num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 8192, "tie_word_embeddings": True}
ARCHITECTURES: dict[str, Family] = {
    "Gemma2ForCausalLM": Family(
        "gemma2",
        gemma2,
        {**GEMMA, "sliding_window": 4096, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
        frozenset({"attn_logit_softcapping"}),
    ),
    "Gemma3ForCausalLM": Family(
        "gemma3_text",
        gemma3,
        {**GEMMA, "rope_theta": 1e6, "max_position_embeddings": 131072, "sliding_window": 4096},
        bare="Gemma3TextModel",
    ),
    "GraniteForCausalLM": Family("granite", granite),
    "LlamaForCausalLM": Family("llama", llama),
    "MistralForCausalLM": Family("mistral", mistral, {"num_key_value_heads": 8}),
    "Olmo2ForCausalLM": Family("olmo2", olmo2, {"rms_norm_eps": 1e-5}),
    "Phi3ForCausalLM": Family(
        "phi3",
        phi3,
        {"rms_norm_eps": 1e-5, "max_position_embeddings": 4096},
        frozenset({"partial_rotary_factor"}),
    ),
    "Qwen2ForCausalLM": Family("qwen2", qwen2, {"num_key_value_heads": 32}),
    "Qwen3ForCausalLM": Family("qwen3", qwen3, {"num_key_value_heads": 32, "head_dim": 128}),
    "SmolLM3ForCausalLM": Family(
        "smollm3",
        smollm3,
        {
            "num_key_value_heads": 4,
            "rope_theta": 2e6,
            "max_position_embeddings": 32768,
            "tie_word_embeddings": True,
        },
    ),
}
