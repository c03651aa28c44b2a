"""Small random checkpoints that between them have every feature that the exporter builds."""

from __future__ import annotations

from typing import Any

_BASE: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
    "torch_dtype": "float32",
}
_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}

CONFIGS: dict[str, dict[str, Any]] = {
    "llama-mha-tied": {**_BASE, "num_key_value_heads": 4, "tie_word_embeddings": True},
    "llama-gqa2-bf16": {**_BASE, "torch_dtype": "bfloat16"},
    "llama-gqa8-llama3-rope": {
        **_BASE,
        "num_attention_heads": 8,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "rope_theta": 500000.0,
        "rope_scaling": _LLAMA3,
        "max_position_embeddings": 16384,
        "tie_word_embeddings": True,
    },
    "llama-padded-heads": {
        **_BASE,
        "hidden_size": 72,
        "head_dim": 20,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "intermediate_size": 100,
        "vocab_size": 301,
        "torch_dtype": "float16",
    },
    "llama-biases-linear-rope": {
        **_BASE,
        "attention_bias": True,
        "mlp_bias": True,
        "head_dim": 24,
        "rope_scaling": {"type": "linear", "factor": 4.0},
    },
    "qwen2": {
        **_BASE,
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-6,
    },
    "qwen3": {
        **_BASE,
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "head_dim": 32,
        "tie_word_embeddings": True,
        "rope_theta": 1000000.0,
    },
    "qwen3-padded-heads": {
        **_BASE,
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "head_dim": 12,
        "num_attention_heads": 6,
    },
    "mistral": {
        **_BASE,
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "head_dim": 16,
        "sliding_window": None,
        "hidden_act": "gelu",
    },
}
