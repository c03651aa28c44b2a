"""A GGUF file's metadata → what config.json says of the same model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from model_export.config import parse_config
from model_export.errors import ArchitectureUnsupported, ConfigInvalid
from model_export.gguf.families import FAMILIES
from model_export.gguf.shards import GgufModel
from model_export.rope import Rope, llama3_factors
from model_export.scalings import RopeScaling

EMBEDDING, HEAD, ROPE_FACTORS = "token_embd.weight", "output.weight", "rope_freqs.weight"
POOLINGS = {1: "mean", 2: "cls", 3: "lasttoken"}
ORIGINAL_CONTEXTS = tuple(2**n for n in range(13, 5, -1)) + tuple(2**n for n in range(14, 21))  # 8,192 is Llama's
TOLERANCE = 1e-4  # relative; factors are float32, and the writer's frequencies were too


class Keys:
    """Typed access to the metadata, with errors that name the file, the key and the bad value."""

    def __init__(self, model: GgufModel) -> None:
        self.model = model
        name = self.text("general.architecture")
        if name not in FAMILIES:
            known = ", ".join(FAMILIES)
            raise ArchitectureUnsupported(f"{model.path}: architecture {name!r} isn't supported; these are: {known}")
        self.architecture = str(name)

    def full(self, key: str) -> str:
        """The key with the architecture's name before it."""
        return f"{self.architecture}.{key}"

    def text(self, key: str, default: str | None = None) -> str | None:
        """A text."""
        found: str | None = self._typed(key, str, "a text", default)
        return found

    def integer(self, key: str, default: int | None = None, least: int = 1) -> int | None:
        """An integer, at least `least`; a list of one for all layers counts as it."""
        value = self.model.metadata.get(key, default)
        if isinstance(value, np.ndarray) and len(value) and (value == value[0]).all():
            value = value[0].item()
        if value is not None and (type(value) is not int or value < least):
            raise self.invalid(key, f"an integer from {least} on, the same for all layers")
        return value

    def number(self, key: str, default: float | None = None) -> float | None:
        """A number."""
        value = self._typed(key, (int, float), "a number", default)
        return None if value is None else float(value)

    def boolean(self, key: str, default: bool) -> bool:
        """True or false."""
        return bool(self._typed(key, bool, "true or false", default))

    def texts(self, key: str) -> list[str] | None:
        """A list of texts."""
        found: list[str] | None = self._typed(key, list, "a list of texts", None)
        return found

    def numbers(self, key: str) -> Any:
        """An array of numbers, or None."""
        return self._typed(key, np.ndarray, "a list of numbers", None)

    def _typed(self, key: str, kind: Any, what: str, default: Any) -> Any:
        value = self.model.metadata.get(key, default)
        if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise self.invalid(key, what)
        return value

    def invalid(self, key: str, what: str) -> ConfigInvalid:
        """The error about a value."""
        value = self.model.metadata[key]
        shown = repr(value) if isinstance(value, str | int | float | bool) else f"a list of {len(value)}"
        return ConfigInvalid(f"{self.model.path}: {key} is {shown[:200]}: expected {what}")


def config(keys: Keys) -> dict[str, Any]:
    """Say the metadata in config.json's keys, those left out that the file doesn't have.

    Raises:
        ConfigInvalid: a key is missing, or has a value of the wrong type or an impossible one.
        ArchitectureUnsupported: the model needs something that isn't built.
    """
    model = keys.model
    architecture = keys.architecture

    def required(key: str) -> int:
        value = keys.integer(keys.full(key))
        if value is None:
            raise ConfigInvalid(f"{model.path} lacks {keys.full(key)}")
        return value

    if keys.integer(keys.full("expert_count"), 0, least=0):
        raise ArchitectureUnsupported(f"{model.path}: a mixture of experts isn't supported")
    hidden, heads = required("embedding_length"), required("attention.head_count")
    head_dim = keys.integer(keys.full("attention.key_length"), hidden // heads or None)
    whole = ("attention.value_length", "rope.dimension_count")
    for key in whole[:1] if architecture == "phi3" else whole:
        if keys.integer(keys.full(key), head_dim) != head_dim:
            raise ArchitectureUnsupported(
                f"{model.path}: {keys.full(key)} is {model.metadata[keys.full(key)]} with keys of {head_dim}: only the "
                f"same is supported"
            )
    if EMBEDDING not in model.tensors:
        raise ConfigInvalid(f"{model.path} has no tensor {EMBEDDING}")
    biased = "blk.0.attn_q.bias" in model.tensors
    window = keys.integer(keys.full("attention.sliding_window"), least=0)
    name = "MistralForCausalLM" if architecture == "llama" and window else FAMILIES[architecture].architecture
    raw: dict[str, Any] = {
        "architectures": [name],
        "vocab_size": model.tensors[EMBEDDING].info.shape[0],
        "hidden_size": hidden,
        "intermediate_size": required("feed_forward_length"),
        "num_hidden_layers": required("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": keys.integer(keys.full("attention.head_count_kv"), heads),
        "head_dim": head_dim,
        "max_position_embeddings": required("context_length"),
        "rms_norm_eps": keys.number(keys.full("attention.layer_norm_rms_epsilon"), 1e-6),
        "rope_theta": keys.number(keys.full("rope.freq_base"), 10000.0),
        "tie_word_embeddings": HEAD not in model.tensors,
        "attention_bias": biased,
        "mlp_bias": "blk.0.ffn_gate.bias" in model.tensors,
        "sliding_window": window or None,
        "use_sliding_window": bool(window),
        "bos_token_id": keys.integer("tokenizer.ggml.bos_token_id", least=0),
        "eos_token_id": keys.integer("tokenizer.ggml.eos_token_id", least=0),
    }
    more = FAMILIES[architecture].more(keys, raw)
    if "rope_scaling" in more:
        return {**raw, **more}
    return {**raw, **more, "rope_scaling": _rope_scaling(keys, raw)}


def _rope_scaling(keys: Keys, raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """config.json's rope_scaling; Llama 3's is a tensor of what each frequency is divided by."""
    model = keys.model
    long = [name for name in model.tensors if name.startswith("rope_factors_")]
    if long:
        raise ArchitectureUnsupported(f"{model.path}: {long[0]}, which goes with longrope, isn't supported")
    kind = keys.text(keys.full("rope.scaling.type"), "none")
    factor = keys.number(keys.full("rope.scaling.factor"), keys.number(keys.full("rope.scale_linear"), 1.0))
    if kind not in ("none", "linear") or (ROPE_FACTORS in model.tensors and kind != "none"):
        raise ArchitectureUnsupported(f"{model.path}: {keys.full('rope.scaling.type')} {kind!r} isn't supported")
    if ROPE_FACTORS in model.tensors:
        return _llama3(keys, raw)
    return {"rope_type": "linear", "factor": factor} if factor not in (None, 0.0, 1.0) else None


def _llama3(keys: Keys, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Find the scaling that gives a file's factors; in all published models the bounds are 1 and 4."""
    path = keys.model.path
    plain = parse_config(raw)
    rope = Rope(plain.rope_theta, None, plain.head_dim)
    tensor = keys.model.tensors[ROPE_FACTORS]
    if tensor.info.shape != (plain.head_dim // 2,):
        raise ConfigInvalid(f"{path}: {ROPE_FACTORS} is {list(tensor.info.shape)}: expected [{plain.head_dim // 2}]")
    factors = tensor.read(0, plain.head_dim // 2).astype(np.float64)
    if not np.isfinite(factors).all() or not 0 < factors.min() <= factors.max():
        raise ConfigInvalid(f"{path}: {ROPE_FACTORS} holds {factors.min():g}: expected positive numbers")
    for original in ORIGINAL_CONTEXTS:
        scaling = RopeScaling("llama3", float(f"{factors.max():.6g}"), 1.0, 4.0, original)
        if np.allclose(llama3_factors(rope, scaling), factors, rtol=TOLERANCE, atol=0):
            return {
                "rope_type": "llama3",
                "factor": scaling.factor,
                "low_freq_factor": scaling.low_freq_factor,
                "high_freq_factor": scaling.high_freq_factor,
                "original_max_position_embeddings": original,
            }
    raise ArchitectureUnsupported(f"{path}: {ROPE_FACTORS} isn't Llama 3's scaling with bounds of 1 and 4")


def pooling(keys: Keys) -> dict[str, Any] | None:
    """The pooling of a model for embeddings as sentence-transformers say it, or None."""
    kind = keys.integer(keys.full("pooling_type"), 0, least=0)
    if not kind:
        return None
    return {"pooling_mode": POOLINGS.get(kind, str(kind))}


SAMPLING = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_repeat": "repetition_penalty",
}


def generation(keys: Keys) -> dict[str, Any]:
    """What generation_config.json says of sampling; a factor of 1 is none."""
    found = {ours: keys.number(f"general.sampling.{theirs}") for theirs, ours in SAMPLING.items() if theirs != "top_k"}
    found["top_k"] = keys.integer("general.sampling.top_k", least=0)
    return {name: value for name, value in found.items() if value is not None}
