from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_export.checkpoint import Checkpoint
from model_export.config import load_config
from model_export.errors import ArtefactInvalid
from model_export.options import ExportOptions
from model_export.reading import read_artefact
from model_export.stored import StoredWeights
from model_export.weights import EMBEDDING, plan
from tests.configs import CONFIGS
from tests.model_export.helpers import edit_json, export_to, read_safetensors, write_safetensors

NAME = "llama-padded-heads"
DOWN = "model.layers.0.mlp.down_proj.weight"
LAYOUTS: list[dict[str, Any]] = [{"quantization": "none"}, {"head_bits": 4}, {"kernels": "native", "head_bits": 4}]


@pytest.fixture(scope="module", params=["stock", "native"])
def original(request: pytest.FixtureRequest, checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_to(checkpoints / NAME, tmp_path_factory.mktemp("stored") / "artefact", kernels=request.param)


@pytest.fixture
def directory(original: Path, tmp_path: Path) -> Path:
    """An artefact to be damaged."""
    return Path(shutil.copytree(original, tmp_path / "artefact"))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("layout", LAYOUTS, ids=["none", "stock", "native"])
def test_the_plan_is_that_of_the_export(name: str, layout: dict[str, Any], checkpoints: Path, tmp_path: Path) -> None:
    config = load_config(checkpoints / name)
    planned = plan(config, ExportOptions(**layout), Checkpoint.open(checkpoints / name, config))
    found = StoredWeights(read_artefact(export_to(checkpoints / name, tmp_path / "out", **layout))).planned
    assert [(w.name, w.tensors, w.bits) for w in found.values()] == [(w.name, w.tensors, w.bits) for w in planned]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("rounding", ["nearest", "search"])
def test_both_layouts_hold_the_same_weights(name: str, rounding: str, checkpoints: Path, tmp_path: Path) -> None:
    stock, native = (
        StoredWeights(read_artefact(export_to(checkpoints / name, tmp_path / kernels, kernels=kernels)))
        for kernels in ("stock", "native")
    )
    for weight in stock.planned.values():
        np.testing.assert_array_equal(stock.weight(weight.name), native.weight(weight.name))


def test_calibration_gives_both_layouts_the_same_weights(checkpoints: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("The quick brown fox jumps over the lazy dog. " * 40)
    options: dict[str, Any] = {"rounding": "calibrated", "calibration": tmp_path / "text.txt", "context": 64}
    stock, native = (
        StoredWeights(read_artefact(export_to(checkpoints / "qwen3", tmp_path / kernels, kernels=kernels, **options)))
        for kernels in ("stock", "native")
    )
    for weight in stock.planned.values():
        np.testing.assert_array_equal(stock.weight(weight.name), native.weight(weight.name))


@pytest.mark.parametrize(("start", "stop"), [(0, 301), (0, 1), (5, 40), (16, 32), (31, 33), (300, 301)])
def test_any_rows_are_those_of_the_whole(original: Path, start: int, stop: int) -> None:
    stored = StoredWeights(read_artefact(original))
    whole, part = stored.quantized(EMBEDDING, 0, 301), stored.quantized(EMBEDDING, start, stop)
    np.testing.assert_array_equal(part[0], whole[0][start:stop])
    np.testing.assert_array_equal(part[1], whole[1][start:stop])


def test_a_tensor_of_another_shape_is_named(directory: Path) -> None:
    header, data = read_safetensors(directory / "model.safetensors")
    shape = header[DOWN]["shape"]
    header[DOWN]["shape"] = [shape[1], shape[0], *shape[2:]]
    write_safetensors(directory / "model.safetensors", header, data)
    with pytest.raises(ArtefactInvalid, match=rf"{DOWN} is U8 .* which holds no \[72, 100\] weights"):
        StoredWeights(read_artefact(directory))


def test_a_missing_tensor_is_named(directory: Path) -> None:
    header, data = read_safetensors(directory / "model.safetensors")
    header["model.layers.0.mlp.other.weight"] = header.pop(DOWN)
    write_safetensors(directory / "model.safetensors", header, data)
    with pytest.raises(ArtefactInvalid, match=f"{DOWN} is missing"):
        StoredWeights(read_artefact(directory))


def test_the_other_layout_is_refused(directory: Path) -> None:
    kernels = json.loads((directory / "firebrick.json").read_text())["kernels"]
    other = {"native": ("stock", "float32"), "stock": ("native", "float16")}[kernels]
    edit_json(directory / "firebrick.json", kernels=other[0], kv_cache_dtype=other[1])
    with pytest.raises(ArtefactInvalid, match=f"for {other[0]} kernels"):
        StoredWeights(read_artefact(directory))


def test_a_scale_that_is_no_number_is_named_with_its_rows(directory: Path) -> None:
    read = read_artefact(directory)
    name = DOWN if read.description["kernels"] == "native" else f"{DOWN}_scale"
    with (directory / "model.safetensors").open("r+b") as file:
        file.seek(read.tensors[name].offset)
        file.write(b"\xff\xff\xff\xff")
    with pytest.raises(ArtefactInvalid, match=f"{DOWN}, rows 0 to 71: a (scale|unit) is"):
        StoredWeights(read).weight(DOWN)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kernels": "warp"}, "has kernels 'warp'"),
        ({"kv_cache_dtype": "float64"}, "has kv_cache_dtype 'float64'"),
        ({"kernels": "native", "kv_cache_dtype": "float32", "quantization": "none"}, "impossible choice|lacks"),
        ({"context_length": 0}, "impossible choice|context"),
        ({"checkpoint_config": {}}, "checkpoint_config"),
    ],
)
def test_an_impossible_description_is_refused(directory: Path, changes: dict[str, Any], words: str) -> None:
    edit_json(directory / "firebrick.json", **changes)
    with pytest.raises(ArtefactInvalid, match=words):
        StoredWeights(read_artefact(directory))
