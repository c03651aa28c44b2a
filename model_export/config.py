"""config.json → a frozen, validated description of the decoder that the graph builder understands."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from model_export.errors import ArchitectureUnsupported, ConfigInvalid
from model_export.files import Files

FLOAT_MAX = sys.float_info.max
LAYERS_MAX = 10_000  # more are a damaged config.json, and even listing their tensors would take all memory
ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}


@dataclass(frozen=True)
class Architecture:
    """What sets one decoder family apart from Llama; the defaults are those of its `transformers` class.

    Attributes:
        family: the name that the artefact records.
        qkv_bias: bias on q, k and v: always, never, or as the config's `attention_bias` says.
        output_bias: the same for o_proj.
        mlp_bias: whether the config's `mlp_bias` counts.
        qk_norm: RMSNorm over head_dim on q and k, before the rotary embedding.
        sliding_window: whether `sliding_window` counts without `use_sliding_window`.
        defaults: values of keys that config.json may leave out.
    """

    family: str
    qkv_bias: bool | Literal["config"] = "config"
    output_bias: bool | Literal["config"] = "config"
    mlp_bias: bool = False
    qk_norm: bool = False
    sliding_window: bool = False
    defaults: Mapping[str, Any] | None = None


ARCHITECTURES: dict[str, Architecture] = {
    "LlamaForCausalLM": Architecture("llama", mlp_bias=True),
    "MistralForCausalLM": Architecture(
        "mistral", qkv_bias=False, output_bias=False, sliding_window=True, defaults={"num_key_value_heads": 8}
    ),
    "Qwen2ForCausalLM": Architecture("qwen2", qkv_bias=True, output_bias=False, defaults={"num_key_value_heads": 32}),
    "Qwen3ForCausalLM": Architecture("qwen3", qk_norm=True, defaults={"num_key_value_heads": 32, "head_dim": 128}),
}
# The decoder without its head, as checkpoints for embeddings have it.
BARE = {name.replace("ForCausalLM", "Model"): name for name in ARCHITECTURES}
MODEL_TYPES = {architecture.family: name for name, architecture in ARCHITECTURES.items()}


@dataclass(frozen=True)
class RopeScaling:
    """How rotary frequencies are stretched. `kind` "linear" uses only `factor`; "llama3" uses all."""

    kind: Literal["linear", "llama3"]
    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position_embeddings: int = 8192


@dataclass(frozen=True)
class ModelConfig:
    """A decoder-only transformer, validated. Sizes are in elements, positions in tokens."""

    architecture: str
    family: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    sliding_window: int | None
    rms_norm_eps: float
    rope_theta: float
    rope_scaling: RopeScaling | None
    hidden_act: str
    tie_word_embeddings: bool
    qkv_bias: bool
    output_bias: bool
    mlp_bias: bool
    qk_norm: bool
    eos_token_ids: tuple[int, ...]
    bos_token_id: int | None


def read_json(path: Files, missing_ok: bool = False) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: the file.
        missing_ok: give `{}` instead of an error when there is no such file.

    Raises:
        ConfigInvalid: the file is missing, isn't UTF-8 JSON, or holds something other than an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(value, ensure_ascii=False).encode()  # refuses half a surrogate pair, which is no text
    except FileNotFoundError:
        if missing_ok:
            return {}
        raise ConfigInvalid(f"{path} is missing: a Hugging Face checkpoint directory has one") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigInvalid(f"{path} can't be read as JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConfigInvalid(f"{path} holds a JSON {type(value).__name__}, not an object")
    return value


def load_config(directory: Files) -> ModelConfig:
    """Read and validate `directory/config.json`.

    Raises:
        ConfigInvalid: a key is missing or has an impossible value.
        ArchitectureUnsupported: the model needs something that the exporter doesn't build.
    """
    return parse_config(read_json(directory / "config.json"))


def parse_config(raw: Mapping[str, Any]) -> ModelConfig:
    """Validate the content of a config.json; raises as `load_config`."""
    name = _architecture_name(raw)
    architecture = ARCHITECTURES[name]
    _refuse_unsupported(raw, name)
    keys = _Keys({**(architecture.defaults or {}), **{k: v for k, v in raw.items() if v is not None}})
    heads = keys.integer("num_attention_heads")
    kv_heads = keys.integer("num_key_value_heads", heads)
    hidden = keys.integer("hidden_size")
    if heads % kv_heads:
        raise ConfigInvalid(f"num_attention_heads {heads} is no multiple of num_key_value_heads {kv_heads}")
    if "head_dim" not in keys.values and hidden % heads:
        raise ConfigInvalid(
            f"hidden_size {hidden} is no multiple of num_attention_heads {heads}, and there is no head_dim"
        )
    head_dim = keys.integer("head_dim", hidden // heads)
    if head_dim % 2:
        raise ConfigInvalid(f"head_dim {head_dim} is odd: rotary embeddings need pairs")
    theta, scaling = _rope(keys)
    attention_bias = keys.boolean("attention_bias", False)
    return ModelConfig(
        architecture=name,
        family=architecture.family,
        vocab_size=keys.integer("vocab_size"),
        hidden_size=hidden,
        intermediate_size=keys.integer("intermediate_size"),
        num_hidden_layers=keys.integer("num_hidden_layers", largest=LAYERS_MAX),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        max_position_embeddings=keys.integer("max_position_embeddings", 2048),
        sliding_window=_sliding_window(keys, architecture),
        rms_norm_eps=keys.number("rms_norm_eps", 1e-6),
        rope_theta=theta,
        rope_scaling=scaling,
        hidden_act=_activation(keys),
        tie_word_embeddings=keys.boolean("tie_word_embeddings", False),
        qkv_bias=attention_bias if architecture.qkv_bias == "config" else architecture.qkv_bias,
        output_bias=attention_bias if architecture.output_bias == "config" else architecture.output_bias,
        mlp_bias=architecture.mlp_bias and keys.boolean("mlp_bias", False),
        qk_norm=architecture.qk_norm,
        eos_token_ids=token_ids(raw.get("eos_token_id"), "eos_token_id in config.json"),
        bos_token_id=next(iter(token_ids(raw.get("bos_token_id"), "bos_token_id in config.json")), None),
    )


def token_ids(value: Any, what: str) -> tuple[int, ...]:
    """Read a token id, a list of them, or null.

    Raises:
        ConfigInvalid: it is something else; the message begins with `what`.
    """
    ids = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in ids):
        raise ConfigInvalid(f"{what} is {value!r}: expected a token id or a list of them")
    return tuple(ids)


def _architecture_name(raw: Mapping[str, Any]) -> str:
    names = raw.get("architectures") or []
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise ConfigInvalid(f"architectures in config.json is {names!r}: expected a list of names")
    if not names and isinstance(raw.get("model_type"), str):
        names = [MODEL_TYPES.get(raw["model_type"], raw["model_type"])]
    if not names:
        raise ConfigInvalid("config.json names neither architectures nor model_type")
    name = BARE.get(names[0], str(names[0]))
    if name not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise ArchitectureUnsupported(f"architecture {name!r} isn't supported; these are: {known}")
    return name


def _refuse_unsupported(raw: Mapping[str, Any], name: str) -> None:
    quantization = raw.get("quantization_config")
    if quantization:
        method = quantization.get("quant_method", "unknown") if isinstance(quantization, dict) else "unknown"
        raise ArchitectureUnsupported(
            f"the checkpoint is quantized already (quant_method {method!r}); export the bf16, f16 or f32 original"
        )
    for key, neutral in (("partial_rotary_factor", 1.0), ("pretraining_tp", 1), ("is_causal", True)):
        if raw.get(key) not in (None, neutral):
            raise ArchitectureUnsupported(f"{name} with {key} {raw[key]!r} isn't supported, only {neutral}")


def _sliding_window(keys: _Keys, architecture: Architecture) -> int | None:
    if "sliding_window" not in keys.values:
        return None
    layer_types = keys.values.get("layer_types")
    if isinstance(layer_types, list) and all(kind == "full_attention" for kind in layer_types):
        return None
    used = architecture.sliding_window or keys.boolean("use_sliding_window", False)
    return keys.integer("sliding_window") if used else None


def _activation(keys: _Keys) -> str:
    name = keys.values.get("hidden_act", "silu")
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ArchitectureUnsupported(
            f"hidden_act {name!r} isn't supported; these are: {', '.join(sorted(ACTIVATIONS))}"
        )
    return ACTIVATIONS[name]


def _rope(keys: _Keys) -> tuple[float, RopeScaling | None]:
    """Read rope_theta and rope_scaling, or rope_parameters, which newer checkpoints have for both."""
    for key in ("rope_parameters", "rope_scaling"):
        if not isinstance(keys.values.get(key, {}), dict):
            raise ConfigInvalid(f"{key} in config.json is {keys.values[key]!r}: expected an object or null")
    both = {**keys.values.get("rope_parameters", {}), **keys.values.get("rope_scaling", {})}
    raw = _Keys({k: v for k, v in both.items() if v is not None})
    theta = raw.number("rope_theta", keys.number("rope_theta", 10000.0))
    kind = raw.values.get("rope_type", raw.values.get("type", "default"))
    if raw.values.get("partial_rotary_factor", 1.0) != 1.0:
        raise ArchitectureUnsupported("partial_rotary_factor other than 1.0 isn't supported")
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


class _Keys:
    """Typed access to a JSON object, with errors that name the key and the bad value."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def _get(self, key: str, default: Any) -> Any:
        value = self.values.get(key, default)
        if value is None:
            raise ConfigInvalid(f"config.json lacks {key}")
        return value

    def integer(self, key: str, default: int | None = None, largest: int = 2**31 - 1) -> int:
        value = self._get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= largest:
            raise ConfigInvalid(f"{key} in config.json is {value!r}: expected a positive integer up to {largest}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self._get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= FLOAT_MAX:
            raise ConfigInvalid(f"{key} in config.json is {value!r}: expected a positive number")
        return float(value)

    def boolean(self, key: str, default: bool) -> bool:
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise ConfigInvalid(f"{key} in config.json is {value!r}: expected true or false")
        return value
