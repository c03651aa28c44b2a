"""Gemma 3's text models: heads normed, two ropes, windows on all layers but every sixth."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from model_export.config import parse_config
from model_export.errors import ArchitectureUnsupported
from tests.families.checks import BASE, Checks

GEMMA3 = {
    **{key: value for key, value in BASE.items() if key != "hidden_act"},
    "architectures": ["Gemma3ForCausalLM"],
    "model_type": "gemma3_text",
    "num_hidden_layers": 4,
    "head_dim": 32,
    "query_pre_attn_scalar": 40,
    "sliding_window": 7,
    "sliding_window_pattern": 3,
    "rope_theta": 1e6,
    "rope_local_base_freq": 1e4,
}


class TestGemma3(Checks):
    CONFIGS: ClassVar = {
        "gemma3": GEMMA3,
        "gemma3-scaled-capped": {
            **GEMMA3,
            "num_hidden_layers": 2,
            "num_key_value_heads": 1,
            "head_dim": 20,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
            "final_logit_softcapping": 3.0,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    }
    GGUF: ClassVar = {**GEMMA3, "query_pre_attn_scalar": 32, "sliding_window_pattern": 6, "num_hidden_layers": 6}


def test_every_sixth_layer_sees_everything_by_default() -> None:
    changes = {"sliding_window_pattern": None, "num_hidden_layers": 12}
    assert parse_config({**GEMMA3, **changes}).window_layers == (0, 1, 2, 3, 4, 6, 7, 8, 9, 10)


def test_newer_checkpoints_name_both_ropes() -> None:
    said = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
    new = {key: value for key, value in GEMMA3.items() if not key.startswith("rope_")}
    old = {**GEMMA3, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    assert parse_config({**new, "rope_parameters": said}) == parse_config(old)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping"),
        ({"layer_types": ["chunked_attention"] * 4}, "chunked_attention"),
        ({"hidden_activation": "mish"}, "hidden_activation"),
        ({"architectures": ["Gemma3ForConditionalGeneration"]}, "Gemma3ForConditionalGeneration.*Gemma3ForCausalLM"),
    ],
)
def test_what_is_not_built_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ArchitectureUnsupported, match=words):
        parse_config({**GEMMA3, **changes})
