"""A decoder as frozen lists of parts: what the expected tensors, the plan of weights, the graph, the plain reference,
calibration and sensitivity all read.

A layer is a list of parts through which a value goes: it begins as the residual stream, each part makes the next value
of it, and `Add` adds it to the stream, which is then the value again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain

from model_export.config import ModelConfig
from model_export.heads import HeadLayout, Heads
from model_export.parts import Add, Attention, Gate, Linear, Norm, Part, Source
from model_export.rope import Rope

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
ROPE, LOCAL_ROPE = "model.rotary_emb", "model.rotary_emb_local"
# The norms of both blocks, before and after them; the names are those of the checkpoints.
NORMS: Mapping[str, Sequence[tuple[str | None, str | None]]] = {
    "before": (("input_layernorm", None), ("post_attention_layernorm", None)),
    "after": ((None, "post_attention_layernorm"), (None, "post_feedforward_layernorm")),
    "both": (
        ("input_layernorm", "post_attention_layernorm"),
        ("pre_feedforward_layernorm", "post_feedforward_layernorm"),
    ),
}


@dataclass(frozen=True)
class Decoder:
    """A whole decoder.

    Attributes:
        layers: the parts of each.
        norm: before the head.
        ropes: the tables that tell positions apart, by name.
        embedding_factor: of the embedding's rows.
        logits_factor: of the logits.
        logits_softcap: which then become softcap · tanh(logit / softcap).
    """

    layers: tuple[tuple[Part, ...], ...]
    norm: Norm
    ropes: tuple[tuple[str, Rope], ...]
    embedding_factor: float
    logits_factor: float
    logits_softcap: float | None

    @property
    def attention(self) -> list[Attention]:
        """That of each layer."""
        return [part for layer in self.layers for part in layer if isinstance(part, Attention)]

    @property
    def plain_logits(self) -> bool:
        """Whether logits are what the head gives."""
        return self.logits_factor == 1 and self.logits_softcap is None


@cache
def decoder(config: ModelConfig) -> Decoder:
    """List the parts of a model."""
    layers = tuple(_layer(config, layer) for layer in range(config.num_hidden_layers))
    dim = config.rotary_dim or config.head_dim
    ropes = {ROPE: Rope(config.rope_theta, config.rope_scaling, dim)}
    if config.local_rope_theta is not None:
        ropes[LOCAL_ROPE] = Rope(config.local_rope_theta, None, dim)
    used = {part.rope for layer in layers for part in layer if isinstance(part, Attention)}
    return Decoder(
        layers,
        _norm(config, "model.norm"),
        tuple((name, rope) for name, rope in ropes.items() if name in used),
        config.embedding_factor,
        config.logits_factor,
        config.logits_softcap,
    )


def expected_tensors(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """List every tensor that a checkpoint with this config has, in order of use.

    Returns:
        name → shape.
    """
    model = decoder(config)
    table = (config.vocab_size, config.hidden_size)
    tensors: dict[str, tuple[int, ...]] = {EMBEDDING: table}
    for part in chain.from_iterable(model.layers):
        if isinstance(part, Norm | Linear | Attention):
            tensors |= part.tensors
    tensors |= model.norm.tensors
    return tensors if config.tie_word_embeddings else {**tensors, HEAD: table}


def _layer(config: ModelConfig, layer: int) -> tuple[Part, ...]:
    name = f"model.layers.{layer}"
    parts: list[Part] = []
    blocks: Mapping[str, Sequence[Part]] = {
        f"{name}.self_attn": _attention(config, layer),
        f"{name}.mlp": _mlp(config, f"{name}.mlp"),
    }
    for (block, inner), (before, after) in zip(blocks.items(), NORMS[config.norms], strict=True):
        parts += [_norm(config, f"{name}.{norm}") for norm in (before,) if norm]
        parts += inner
        parts += [_norm(config, f"{name}.{norm}") for norm in (after,) if norm]
        parts.append(Add(f"{block}.residual", config.residual_factor))
    return tuple(parts)


def _norm(config: ModelConfig, name: str, heads: Heads | None = None) -> Norm:
    width = config.hidden_size if heads is None else heads.width
    return Norm(name, width, config.rms_norm_eps, heads, config.norm_offset)


def _attention(config: ModelConfig, layer: int) -> tuple[Linear, Attention, Linear]:
    name = f"model.layers.{layer}.self_attn"
    turned, plain = HeadLayout(config.head_dim, config.rotary_dim), HeadLayout(config.head_dim)
    query, key = (Heads(n, turned) for n in (config.num_attention_heads, config.num_key_value_heads))
    value, mixed = Heads(key.count, plain), Heads(query.count, plain)
    heads = {"q": query, "k": key, "v": value}
    sources = tuple(Source(f"{name}.{part}_proj", h.width, (h,)) for part, h in heads.items())
    if config.fused:
        sources = (Source(f"{name}.qkv_proj", sum(h.width for h in heads.values()), tuple(heads.values())),)
    normed = (query, key) if config.qk_norm_whole else (Heads(1, turned), Heads(1, turned))
    norms = _norm(config, f"{name}.q_norm", normed[0]), _norm(config, f"{name}.k_norm", normed[1])
    slides = config.sliding_window is not None and layer in (config.window_layers or range(config.num_hidden_layers))
    rope = LOCAL_ROPE if slides and config.local_rope_theta is not None else ROPE
    attention = Attention(
        name,
        query,
        key,
        config.head_dim**-0.5 if config.attention_scale is None else config.attention_scale,
        norms if config.qk_norm else None,
        None if layer in config.unturned_layers else rope,
        norms[0].stored_epsilon,
        config.sliding_window if slides else None,
        config.attention_softcap,
    )
    output = Source(f"{name}.o_proj", config.hidden_size)
    return (
        Linear(f"{name}.qkv_proj", sources, config.hidden_size, config.qkv_bias),
        attention,
        Linear(output.name, (output,), mixed.width, config.output_bias, mixed),
    )


def _mlp(config: ModelConfig, name: str) -> tuple[Linear, Gate, Linear]:
    width, hidden = config.intermediate_size, config.hidden_size
    both = {"gate_up_proj": 2 * width} if config.fused else {"gate_proj": width, "up_proj": width}
    sources = tuple(Source(f"{name}.{part}", rows) for part, rows in both.items())
    down = Source(f"{name}.down_proj", hidden)
    return (
        Linear(f"{name}.gate_up_proj", sources, hidden, config.mlp_bias),
        Gate(name, config.hidden_act),
        Linear(down.name, (down,), width, config.mlp_bias),
    )
