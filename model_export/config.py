"""config.json → a frozen, validated description of the decoder that the graph builder understands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from model_export.errors import ArchitectureUnsupported, ConfigInvalid
from model_export.families import ARCHITECTURES, LAYERS_MAX, Features, activation
from model_export.files import Files
from model_export.keys import Keys
from model_export.scalings import Scaling, read_rope, rope_keys

PLAIN: Features = {"qkv_bias": False, "output_bias": False, "mlp_bias": False, "qk_norm": False, "sliding_window": None}
# Values that change nothing, of keys that most families don't know.
NEUTRAL = {
    "partial_rotary_factor": 1.0,
    "pretraining_tp": 1,
    "is_causal": True,
    "use_bidirectional_attention": False,
    "attn_logit_softcapping": None,
}
# The decoder without its head, as checkpoints for embeddings have it.
BARE = {family.bare or name.replace("ForCausalLM", "Model"): name for name, family in ARCHITECTURES.items()}
MODEL_TYPES = {architecture.family: name for name, architecture in ARCHITECTURES.items()}


@dataclass(frozen=True)
class ModelConfig:
    """A decoder-only transformer, validated. Sizes are in elements, positions in tokens.

    Attributes:
        qk_norm: RMSNorm over head_dim on q and k, before the rotary embedding.
        window_layers: those that `sliding_window` holds for; None for all.
        norms: where a block's norm is: before it, after it (then added to the residual stream), or both.
        norm_offset: what is added to the norms' weights.
        qk_norm_whole: whether the norms of q and k are over all heads together.
        fused: whether q, k and v are one tensor in the checkpoint, and gate and up another.
        rotary_dim: elements of a head that are turned, the first ones; None for all.
        unturned_layers: those without rotary embedding.
        local_rope_theta: the theta of layers with a window; None for the same as in all.
        embedding_factor: of the embedding's rows.
        attention_scale: of the scores; None for the root of 1 / head_dim.
        attention_softcap: the cap of scores: cap · tanh(score / cap).
        residual_factor: of what is added to the residual stream.
        logits_factor: of the logits.
        logits_softcap: their cap, after that.
    """

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
    rope_scaling: Scaling | None
    hidden_act: str
    tie_word_embeddings: bool
    qkv_bias: bool
    output_bias: bool
    mlp_bias: bool
    qk_norm: bool
    eos_token_ids: tuple[int, ...]
    bos_token_id: int | None
    window_layers: tuple[int, ...] | None = None
    norms: Literal["before", "after", "both"] = "before"
    norm_offset: float = 0.0
    qk_norm_whole: bool = False
    fused: bool = False
    rotary_dim: int | None = None
    unturned_layers: tuple[int, ...] = ()
    local_rope_theta: float | None = None
    embedding_factor: float = 1.0
    attention_scale: float | None = None
    attention_softcap: float | None = None
    residual_factor: float = 1.0
    logits_factor: float = 1.0
    logits_softcap: float | None = None

    def described(self) -> dict[str, Any]:
        """What firebrick.json has of it: features that a model doesn't have are left out, as older artefacts do."""
        values = asdict(self)
        return {f.name: values[f.name] for f in fields(self) if values[f.name] != f.default}


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
    keys = Keys({**architecture.defaults, **raw})
    _refuse_unsupported(keys, name)
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
    features = architecture.features(keys)
    if "rope_theta" not in features:
        theta, scaling = read_rope(keys)
        features |= {"rope_theta": theta, "rope_scaling": scaling}
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
        rms_norm_eps=keys.number("rms_norm_eps", 1e-6),
        tie_word_embeddings=keys.boolean("tie_word_embeddings", False),
        eos_token_ids=token_ids(raw.get("eos_token_id"), "eos_token_id in config.json"),
        bos_token_id=next(iter(token_ids(raw.get("bos_token_id"), "bos_token_id in config.json")), None),
        **{"hidden_act": activation(keys), **PLAIN, **features},
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
        raise ArchitectureUnsupported(f"architecture {name!r} isn't supported; these are: {known}{_advice(name)}")
    return name


def _advice(name: str) -> str:
    if name.endswith("ForConditionalGeneration"):  # it reads images, too
        return "; of a model that reads more than text, a GGUF file holds the text model, which may be one of these"
    if name.endswith(("ForCausalLM", "LMHeadModel")):
        return "; --builder optimum exports others, for onnxruntime's kernels"
    return ""


def _refuse_unsupported(keys: Keys, name: str) -> None:
    quantization = keys.values.get("quantization_config")
    if quantization:
        method = quantization.get("quant_method", "unknown") if isinstance(quantization, dict) else "unknown"
        raise ArchitectureUnsupported(
            f"the checkpoint is quantized already (quant_method {method!r}); export the bf16, f16 or f32 original"
        )
    both = {**keys.values, **rope_keys(keys).values}
    for key, neutral in NEUTRAL.items():
        if key not in ARCHITECTURES[name].reads and both.get(key, neutral) != neutral:
            raise ArchitectureUnsupported(f"{name} with {key} {both[key]!r} isn't supported, only {neutral}")
