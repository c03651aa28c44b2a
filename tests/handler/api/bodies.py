"""JSON that somebody else might send."""

from __future__ import annotations

from hypothesis import strategies as st

KEYS = st.sampled_from(["model", "messages", "role", "content", "type", "text", "prompt"])
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
)
