"""How config.json says that rotary frequencies are stretched."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt
from typing import Any, Literal

from model_export.errors import ArchitectureUnsupported, ConfigInvalid
from model_export.keys import Keys


@dataclass(frozen=True)
class RopeScaling:
    """How rotary frequencies are stretched. `kind` "linear" uses only `factor`; "llama3" uses all."""

    kind: Literal["linear", "llama3"]
    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position_embeddings: int = 8192


@dataclass(frozen=True)
class LongRope:
    """Frequencies divided by numbers of their own (Ding et al., LongRoPE, 2024).

    Attributes:
        kind: tells it from the others in firebrick.json.
        original_max_position_embeddings: the longest context for which `short_factors` are right.
        attention_factor: of cosines and sines.
        short_factors: what each frequency is divided by.
        long_factors: the same in longer contexts.
    """

    kind: Literal["longrope"]
    original_max_position_embeddings: int
    attention_factor: float
    short_factors: tuple[float, ...]
    long_factors: tuple[float, ...]


Scaling = RopeScaling | LongRope


def described(raw: dict[str, Any] | None) -> Scaling | None:
    """A scaling as firebrick.json has it; raises TypeError if it misses something."""
    if raw is None:
        return None
    known: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
    return LongRope(**known) if known.get("kind") == "longrope" else RopeScaling(**known)


def rope_keys(keys: Keys) -> Keys:
    """What rope_parameters, or the older rope_scaling, hold; newer checkpoints have the theta there too.

    Raises:
        ConfigInvalid: one of them is no object.
    """
    for key in ("rope_parameters", "rope_scaling"):
        if not isinstance(keys.values.get(key, {}), dict):
            raise ConfigInvalid(f"{key} in config.json is {keys.values[key]!r}: expected an object or null")
    return Keys({**keys.values.get("rope_parameters", {}), **keys.values.get("rope_scaling", {})})


def read_rope(keys: Keys) -> tuple[float, Scaling | None]:
    """Read theta and scaling.

    Raises:
        ConfigInvalid: one has an impossible value.
        ArchitectureUnsupported: the scaling isn't built.
    """
    raw = rope_keys(keys)
    if any(isinstance(value, dict) for value in raw.values.values()):
        raise ArchitectureUnsupported(f"rope_parameters by kind of layer isn't supported: {', '.join(raw.values)[:80]}")
    theta = raw.number("rope_theta", keys.number("rope_theta", 10000.0))
    kind = raw.values.get("rope_type", raw.values.get("type", "default"))
    if kind == "default":
        return theta, None
    if kind == "linear":
        return theta, RopeScaling("linear", raw.number("factor"))
    if kind == "llama3":
        scaling = RopeScaling(
            "llama3",
            raw.number("factor"),
            raw.number("low_freq_factor"),
            raw.number("high_freq_factor"),
            raw.integer("original_max_position_embeddings", keys.integer("max_position_embeddings", 2048)),
        )
        if scaling.high_freq_factor <= scaling.low_freq_factor:
            raise ConfigInvalid("rope_scaling: high_freq_factor must be larger than low_freq_factor")
        return theta, scaling
    raise ArchitectureUnsupported(f"rope_scaling {kind!r} isn't supported; these are: default, linear, llama3")


def read_long_rope(keys: Keys, pairs: int) -> tuple[float, Scaling | None]:
    """Read theta and scaling where LongRoPE is the only one; raises as `read_rope`.

    Args:
        keys: of config.json.
        pairs: of elements that are turned.
    """
    raw = rope_keys(keys)
    theta = raw.number("rope_theta", keys.number("rope_theta", 10000.0))
    kind = raw.values.get("rope_type", raw.values.get("type", "default"))
    if kind == "default":
        return theta, None
    if kind not in ("longrope", "su"):  # the second is its older name
        raise ArchitectureUnsupported(f"rope_scaling {kind!r} isn't supported; these are: default, longrope")
    longest = keys.integer("max_position_embeddings", 4096)
    original = keys.integer("original_max_position_embeddings", raw.integer("original_max_position_embeddings", 4096))
    stretched = longest > original > 1
    attention_factor = sqrt(1 + log(longest / original) / log(original)) if stretched else 1.0
    short, long = (raw.numbers(key, pairs) for key in ("short_factor", "long_factor"))
    return theta, LongRope("longrope", original, raw.number("attention_factor", attention_factor), short, long)
