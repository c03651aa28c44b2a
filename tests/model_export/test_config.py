from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model_export.config import ModelConfig, load_config, parse_config, token_ids
from model_export.errors import ArchitectureUnsupported, ConfigInvalid, ExportError
from model_export.families import ARCHITECTURES
from model_export.options import ExportOptions
from model_export.scalings import RopeScaling
from tests.configs import CONFIGS

LLAMA = CONFIGS["llama-gqa2-bf16"]
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
KEYS = sorted(
    set().union(*CONFIGS.values())
    | {"rope_parameters", "quantization_config", "partial_rotary_factor", "layer_types", "use_sliding_window"}
    | {"eos_token_id", "bos_token_id", "pretraining_tp"}
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
ROPE = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(LLAMA3, JSON),
        "rope_type": JSON | st.sampled_from(["llama3", "linear", "default"]),
        "type": JSON,
        "rope_theta": JSON,
        "partial_rotary_factor": JSON,
    },
)


def llama(**changes: Any) -> ModelConfig:
    return parse_config({**LLAMA, **changes})


@pytest.mark.parametrize("name", CONFIGS)
def test_every_configuration_is_understood(name: str) -> None:
    raw = CONFIGS[name]
    config = parse_config(raw)
    assert config.architecture == raw["architectures"][0]
    assert config.num_key_value_heads == raw["num_key_value_heads"]


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_the_model_type_names_an_architecture_too(architecture: str) -> None:
    config = llama(architectures=None, model_type=ARCHITECTURES[architecture].family)
    assert config.architecture == architecture


def test_llama_takes_biases_as_the_config_says() -> None:
    config = llama(attention_bias=True, mlp_bias=True)
    assert (config.qkv_bias, config.output_bias, config.mlp_bias, config.qk_norm) == (True, True, True, False)


def test_qwen2_has_biases_on_q_k_and_v_alone() -> None:
    config = llama(architectures=["Qwen2ForCausalLM"])
    assert (config.qkv_bias, config.output_bias, config.mlp_bias) == (True, False, False)


def test_qwen3_norms_its_heads() -> None:
    assert llama(architectures=["Qwen3ForCausalLM"]).qk_norm


def test_mistral_has_no_biases() -> None:
    config = llama(architectures=["MistralForCausalLM"], attention_bias=True, mlp_bias=True)
    assert (config.qkv_bias, config.output_bias, config.mlp_bias) == (False, False, False)


def test_head_dim_is_what_the_config_says() -> None:
    assert llama(head_dim=24).head_dim == 24


def test_head_dim_is_a_head_s_share_otherwise() -> None:
    assert llama(head_dim=None).head_dim == 16


def test_kv_heads_are_all_heads_in_old_llamas() -> None:
    assert llama(num_key_value_heads=None).num_key_value_heads == 4


def test_an_unknown_architecture_is_refused_with_the_list() -> None:
    with pytest.raises(ArchitectureUnsupported, match=r"GPT2LMHeadModel.*LlamaForCausalLM.*MistralForCausalLM.*Qwen2"):
        llama(architectures=["GPT2LMHeadModel"])


@pytest.mark.parametrize(
    ("name", "advice"),
    [("GPT2LMHeadModel", "--builder optimum"), ("Gemma3ForConditionalGeneration", "a GGUF file holds the text model")],
)
def test_an_unknown_architecture_is_told_another_way(name: str, advice: str) -> None:
    with pytest.raises(ArchitectureUnsupported, match=advice):
        llama(architectures=[name])


def test_a_config_without_an_architecture_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match="neither architectures nor model_type"):
        llama(architectures=None, model_type=None)


@pytest.mark.parametrize("kind", ["yarn", "dynamic", "longrope", "su"])
@pytest.mark.parametrize("key", ["rope_type", "type"])
def test_other_rope_scalings_are_refused_by_name(kind: str, key: str) -> None:
    with pytest.raises(ArchitectureUnsupported, match=kind):
        llama(rope_scaling={key: kind, "factor": 4.0})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ({"quantization_config": {"quant_method": "awq"}}, "awq"),
        ({"quantization_config": "yes"}, "quantized already"),
        ({"hidden_act": "mish"}, "mish"),
        ({"hidden_act": ["silu"]}, "hidden_act"),
        ({"pretraining_tp": 2}, "pretraining_tp"),
    ],
)
def test_what_is_not_built_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ArchitectureUnsupported, match=words):
        llama(**changes)


@pytest.mark.parametrize(
    "key",
    ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"],
)
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(ConfigInvalid, match=key):
        llama(**{key: None})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("vocab_size", "320"),
        ("vocab_size", True),
        ("vocab_size", 0),
        ("hidden_size", 64.0),
        ("num_hidden_layers", -1),
        ("num_hidden_layers", 2**30),
        ("num_attention_heads", 2**31),
        ("num_key_value_heads", 3),
        ("head_dim", 15),
        ("head_dim", False),
        ("rms_norm_eps", 0),
        ("rms_norm_eps", float("nan")),
        ("rope_theta", float("inf")),
        ("rope_theta", 10**400),
        ("rope_theta", "1e4"),
        ("rope_scaling", [1]),
        ("rope_scaling", {"rope_type": "linear"}),
        ("rope_scaling", {"rope_type": "linear", "factor": -2.0}),
        ("rope_scaling", {**LLAMA3, "high_freq_factor": 1.0}),
        ("rope_scaling", {**LLAMA3, "original_max_position_embeddings": 0.5}),
        ("tie_word_embeddings", 1),
        ("attention_bias", "no"),
        ("architectures", "LlamaForCausalLM"),
        ("eos_token_id", -1),
        ("eos_token_id", [1, True]),
        ("bos_token_id", "<s>"),
    ],
)
def test_an_impossible_value_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(ConfigInvalid, match=rf"{key}|factor|original_max"):
        llama(**{key: value})


def test_a_hidden_size_that_heads_do_not_divide_needs_a_head_dim() -> None:
    with pytest.raises(ConfigInvalid, match="head_dim"):
        llama(hidden_size=66)


def test_rope_scaling_of_llama3() -> None:
    config = llama(rope_theta=5e5, rope_scaling=LLAMA3)
    assert config.rope_scaling == RopeScaling("llama3", 8.0, 1.0, 4.0, 8192)
    assert config.rope_theta == 5e5


def test_rope_parameters_of_newer_checkpoints_say_the_same() -> None:
    old = llama(rope_theta=5e5, rope_scaling=LLAMA3)
    assert llama(rope_theta=None, rope_parameters={**LLAMA3, "rope_theta": 5e5}) == old


def test_rope_parameters_without_scaling() -> None:
    config = llama(rope_theta=None, rope_parameters={"rope_type": "default", "rope_theta": 7.0})
    assert (config.rope_theta, config.rope_scaling) == (7.0, None)


def test_a_partial_rotary_factor_of_null_is_none_at_all() -> None:
    assert llama(rope_parameters={"rope_type": "default", "partial_rotary_factor": None}).rope_scaling is None


def test_the_old_name_of_linear_scaling() -> None:
    assert llama(rope_scaling={"type": "linear", "factor": 4}).rope_scaling == RopeScaling("linear", 4.0)


def test_mistral_s_sliding_window_counts() -> None:
    assert llama(architectures=["MistralForCausalLM"], sliding_window=128).sliding_window == 128


def test_qwen_s_sliding_window_counts_only_when_it_is_used_and_in_the_last_layers() -> None:
    qwen = {"architectures": ["Qwen2ForCausalLM"], "sliding_window": 128}
    used = {**qwen, "use_sliding_window": True}
    assert llama(**qwen).sliding_window is None
    assert llama(**used).sliding_window is None  # of layers from 28 on
    assert (llama(**used, max_window_layers=1).sliding_window, llama(**used, max_window_layers=1).window_layers) == (
        128,
        (1,),
    )
    assert llama(**used, max_window_layers=0).window_layers is None
    assert llama(**used, max_window_layers=0, layer_types=["full_attention"] * 2).sliding_window is None


@pytest.mark.parametrize("kinds", ["full_attention", ["full_attention"], [1, 2]])
def test_layer_types_that_are_not_a_name_for_each_layer_are_refused(kinds: Any) -> None:
    with pytest.raises((ConfigInvalid, ArchitectureUnsupported), match="layer_types"):
        llama(architectures=["MistralForCausalLM"], sliding_window=128, layer_types=kinds)


def test_a_sliding_window_does_not_limit_the_context() -> None:
    config = llama(architectures=["MistralForCausalLM"], sliding_window=128)
    assert ExportOptions().context_length(config) == 512


def test_end_of_text_may_be_one_id_or_several() -> None:
    assert token_ids(3, "x") == (3,)
    assert token_ids([3, 4], "x") == (3, 4)
    assert token_ids(None, "x") == ()


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b'"a"', b"[" * 100_000])
def test_a_config_that_is_no_json_object_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigInvalid, match=r"config\.json"):
        load_config(tmp_path)


def test_a_missing_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"config\.json is missing"):
        load_config(tmp_path)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(CONFIGS)), st.dictionaries(st.sampled_from(KEYS), JSON, max_size=3), ROPE)
@example("qwen2", {"hidden_act": {}}, {})
@example("qwen2", {}, {"rope_type": "linear", "factor": 10**400})
def test_whatever_a_config_says_it_is_parsed_or_refused(
    name: str, changes: dict[str, Any], scaling: dict[str, Any]
) -> None:
    try:
        config = parse_config({**CONFIGS[name], "rope_scaling": scaling, **changes})
    except ExportError:
        return
    assert config.head_dim % 2 == 0
