from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_export.config import parse_config
from model_export.errors import OptionInvalid
from model_export.options import BLOCK_SIZES, ExportOptions, directory_name
from tests.configs import CONFIGS

CONFIG = parse_config(CONFIGS["llama-gqa2-bf16"])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("quantization", "int8"),
        ("block_size", 24),
        ("block_size", 0),
        ("head_bits", 6),
        ("activations", "bf16"),
        ("rounding", "up"),
        ("kernels", "warp"),
        ("kv_cache", "f16"),
        ("kv_cache", "f8"),
        ("calibration", Path("text.txt")),
        ("bits_per_weight", 4.0),
        ("bits_per_weight", 8.6),
        ("bits_per_weight", float("nan")),
        ("context", 1),
        ("context", -5),
        ("name", ""),
        ("name", "a b"),
        ("name", "ü"),
        ("name", "x" * 129),
        ("name", "a\n"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises(OptionInvalid, match="--" + option.replace("_", "-")):
        ExportOptions(**{option: value})


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"block_size": 64}, "--block-size 64"),
        ({"activations": "float32"}, "--activations float32"),
        ({"quantization": "none"}, "--quantization none"),
    ],
)
def test_native_kernels_refuse_what_they_cannot_do(other: Any, words: str) -> None:
    with pytest.raises(OptionInvalid, match=f"--kernels native doesn't go with {words}"):
        ExportOptions(kernels="native", **other)


@pytest.mark.parametrize(
    ("chosen", "dtype"),
    [
        ({}, "float32"),
        ({"kernels": "native"}, "int8"),
        ({"kernels": "native", "kv_cache": "f16"}, "float16"),
        ({"kernels": "native", "kv_cache": "int8"}, "int8"),
    ],
)
def test_the_cache_follows_the_kernels(chosen: Any, dtype: str) -> None:
    assert ExportOptions(**chosen).kv_cache_dtype == dtype


@pytest.mark.parametrize("options", [{"rounding": "calibrated"}, {"bits_per_weight": 5.0}])
def test_a_calibration_text_goes_with_what_uses_it(options: dict[str, Any]) -> None:
    assert ExportOptions(calibration=Path("text.txt"), **options).calibrates


def test_a_budget_goes_with_int4() -> None:
    with pytest.raises(OptionInvalid, match="--bits-per-weight 5 goes with --quantization int4"):
        ExportOptions(bits_per_weight=5.0, quantization="none")


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_every_block_size_is_one(block_size: int) -> None:
    assert ExportOptions(block_size=block_size).block_size == block_size


def test_the_context_is_the_model_s_if_that_is_short() -> None:
    assert ExportOptions().context_length(CONFIG) == 512


def test_the_context_is_8192_if_the_model_has_more() -> None:
    assert ExportOptions().context_length(replace(CONFIG, max_position_embeddings=131072)) == 8192


def test_more_may_be_asked_for_up_to_the_model_s_own() -> None:
    config = replace(CONFIG, max_position_embeddings=16384)
    assert ExportOptions(context=16384).context_length(config) == 16384
    with pytest.raises(OptionInvalid, match="--context 16385 is beyond"):
        ExportOptions(context=16385).context_length(config)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Llama-3.2-1B", "Llama-3.2-1B"), ("my model", "my-model"), ("größe", "gr-e"), ("ü", "-")],
)
def test_a_model_is_called_as_its_directory(name: str, expected: str, tmp_path: Path) -> None:
    assert directory_name(tmp_path / name) == expected


def test_the_current_directory_has_a_name_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert directory_name(Path(".")) == "here"
