"""Granite: Llama with a factor at the embedding, the scores, the residual stream and the logits."""

from __future__ import annotations

from typing import ClassVar

from tests.families.checks import BASE, Checks

GRANITE = {
    **BASE,
    "architectures": ["GraniteForCausalLM"],
    "model_type": "granite",
    "embedding_multiplier": 12.0,
    "attention_multiplier": 0.125,
    "residual_multiplier": 0.3,
    "logits_scaling": 8.0,
}


class TestGranite(Checks):
    CONFIGS: ClassVar = {
        "granite": {**GRANITE, "tie_word_embeddings": True},
        "granite-biases": {**GRANITE, "attention_bias": True, "mlp_bias": True, "num_key_value_heads": 1},
    }
    GGUF: ClassVar = GRANITE
