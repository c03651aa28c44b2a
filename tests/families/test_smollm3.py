"""SmolLM3: layers that don't tell positions apart."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from model_export.config import parse_config
from model_export.errors import ConfigInvalid
from tests.families.checks import BASE, Checks

SMOLLM3 = {**BASE, "architectures": ["SmolLM3ForCausalLM"], "model_type": "smollm3", "num_hidden_layers": 4}


class TestSmolLM3(Checks):
    CONFIGS: ClassVar = {
        "smollm3": {**SMOLLM3, "no_rope_layer_interval": 2},
        "smollm3-windows": {
            **SMOLLM3,
            "num_hidden_layers": 3,
            "no_rope_layers": [1, 0, 0],
            "use_sliding_window": True,
            "sliding_window": 9,
            "attention_bias": True,
            "mlp_bias": True,
            "tie_word_embeddings": False,
        },
    }
    GGUF: ClassVar = SMOLLM3


def test_every_fourth_layer_is_unturned_by_default() -> None:
    assert parse_config({**SMOLLM3, "num_hidden_layers": 9}).unturned_layers == (3, 7)


@pytest.mark.parametrize("flags", [[1, 0], "1011", [1, 2, 0, 1]])
def test_flags_that_are_not_one_for_each_layer_are_refused(flags: Any) -> None:
    with pytest.raises(ConfigInvalid, match="no_rope_layers"):
        parse_config({**SMOLLM3, "no_rope_layers": flags})
