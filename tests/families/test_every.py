"""What a config.json says is understood or refused, whatever it is."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from model_export.config import parse_config
from model_export.decoder import decoder
from model_export.errors import ExportError
from tests.families.every import CONFIGS

# Beside those of the configurations.
KEYS = {"layer_types", "rope_parameters", "rope_scaling", "partial_rotary_factor", "hidden_activation", "head_dim"}
WORDS = st.sampled_from(["rope_type", "full_attention", "sliding_attention", "longrope", "short_factor", "long_factor"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | WORDS, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200)
@given(
    st.sampled_from(sorted(CONFIGS)),
    st.dictionaries(st.sampled_from(sorted({*KEYS, *(key for c in CONFIGS.values() for key in c)})), JSON, max_size=3),
)
def test_it_is_parsed_or_refused(name: str, changes: dict[str, Any]) -> None:
    with contextlib.suppress(ExportError):
        decoder(parse_config({**CONFIGS[name], "architectures": CONFIGS[name]["architectures"], **changes}))
