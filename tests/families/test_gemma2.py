"""Gemma 2: norms of 1 + w before and after each block, windows on every other layer, capped scores and logits."""

from __future__ import annotations

from typing import ClassVar

from model_export.config import parse_config
from tests.families.checks import BASE, Checks

GEMMA2 = {
    **{key: value for key, value in BASE.items() if key != "hidden_act"},
    "architectures": ["Gemma2ForCausalLM"],
    "model_type": "gemma2",
    "num_hidden_layers": 3,
    "head_dim": 32,
    "query_pre_attn_scalar": 24,
    "sliding_window": 9,
    "attn_logit_softcapping": 2.0,
    "final_logit_softcapping": 3.0,
}


class TestGemma2(Checks):
    CONFIGS: ClassVar = {
        "gemma2": GEMMA2,
        "gemma2-padded-heads-uncapped": {
            **GEMMA2,
            "head_dim": 12,
            "attention_bias": True,
            "attn_logit_softcapping": None,
            "final_logit_softcapping": None,
            "layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
            "tie_word_embeddings": False,
        },
    }
    GGUF: ClassVar = {**GEMMA2, "query_pre_attn_scalar": 32}


def test_caps_that_are_left_out_are_those_of_the_class() -> None:
    config = parse_config({k: v for k, v in GEMMA2.items() if not k.endswith("softcapping")})
    assert (config.attention_softcap, config.logits_softcap) == (50, 30)


def test_every_other_layer_has_a_window() -> None:
    assert parse_config(GEMMA2).window_layers == (0, 2)
