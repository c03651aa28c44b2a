"""OLMo 2: norms after the blocks, and over all heads of q and of k."""

from __future__ import annotations

from typing import ClassVar

from tests.families.checks import BASE, Checks

OLMO2 = {**BASE, "architectures": ["Olmo2ForCausalLM"], "model_type": "olmo2"}


class TestOlmo2(Checks):
    CONFIGS: ClassVar = {
        "olmo2": OLMO2,
        "olmo2-padded-heads": {**OLMO2, "hidden_size": 64, "head_dim": 12, "num_key_value_heads": 4},
        "olmo2-one-kv-head": {**OLMO2, "num_key_value_heads": 1, "tie_word_embeddings": True, "attention_bias": True},
    }
    GGUF: ClassVar = {**OLMO2, "num_key_value_heads": 1}
