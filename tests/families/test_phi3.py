"""Phi-3 and Phi-4-mini: fused projections, LongRoPE, heads of which only a part is turned."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from model_export.config import parse_config
from model_export.decoder import decoder
from model_export.errors import ArchitectureUnsupported, ConfigInvalid, OptionInvalid
from model_export.options import ExportOptions
from model_export.rope import tables
from tests.families.checks import BASE, Checks

PHI3 = {**BASE, "architectures": ["Phi3ForCausalLM"], "model_type": "phi3"}
LONG = {
    "type": "longrope",
    "short_factor": [1.0, 1.25, 1.5, 2.0, 2.5, 3.0],
    "long_factor": [1.5, 2.0, 4.0, 8.0, 16.0, 32.0],
}
PHI4 = {**PHI3, "partial_rotary_factor": 0.75, "rope_scaling": LONG, "original_max_position_embeddings": 64}


class TestPhi3(Checks):
    CONFIGS: ClassVar = {
        "phi3": {**PHI3, "num_key_value_heads": 4, "sliding_window": 11},
        "phi3-partial-longrope": {**PHI4, "tie_word_embeddings": True},
        "phi3-partial-padded-heads": {**PHI3, "num_attention_heads": 8, "partial_rotary_factor": 0.5},
    }
    GGUF: ClassVar = {**PHI4, "sliding_window": 99, "original_max_position_embeddings": 4}  # cosines exactly twice


@pytest.mark.parametrize(("context", "factors"), [(64, "short_factor"), (65, "long_factor")])
def test_the_context_chooses_the_factors(context: int, factors: str) -> None:
    (_, rope), *_ = decoder(parse_config(PHI4)).ropes
    cosines, sines = tables(rope, context, 8)
    grown = np.sqrt(1 + np.log(256 / 64) / np.log(64))
    angles = 40 / (10000.0 ** (np.arange(6) / 6) * np.array(LONG[factors]))
    np.testing.assert_allclose(cosines[40, :6], np.cos(angles) * grown, atol=1e-5)
    np.testing.assert_allclose(sines[40], [*(np.sin(angles) * grown), 0, 0], atol=1e-5)
    assert cosines[40, 6:].tolist() == [1, 1]  # what isn't turned isn't grown


def test_a_context_for_long_factors_has_to_be_asked_for() -> None:
    config = parse_config(PHI4)
    assert ExportOptions().context_length(config) == 64
    assert ExportOptions(context=256).context_length(config) == 256
    with pytest.raises(OptionInvalid, match="max_position_embeddings 256"):
        ExportOptions(context=257).context_length(config)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"partial_rotary_factor": 0.01}, ConfigInvalid),
        ({"rope_scaling": {**LONG, "long_factor": [1.0] * 5}}, ConfigInvalid),
        ({"rope_scaling": {**LONG, "short_factor": [1.0] * 5 + [-1]}}, ConfigInvalid),
        ({"rope_scaling": {"type": "longrope"}}, ConfigInvalid),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0}}, ArchitectureUnsupported),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"factor|yarn"):
        parse_config({**PHI4, **changes})


def test_newer_checkpoints_say_the_same_in_rope_parameters() -> None:
    new = {
        key: value for key, value in PHI4.items() if key not in ("rope_scaling", "rope_theta", "partial_rotary_factor")
    }
    said = {**LONG, "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75}
    assert parse_config({**new, "rope_parameters": said}) == parse_config(PHI4)
