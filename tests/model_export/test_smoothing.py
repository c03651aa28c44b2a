from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from model_export.checkpoint import Checkpoint
from model_export.config import load_config
from model_export.options import ExportOptions
from model_export.rows import ComputedRows
from model_export.smoothing import channel_factors, smoothed
from model_export.weights import plan
from tests.conftest import ROOT
from tests.model_export.helpers import export_to, read_safetensors, write_safetensors

DEMO = ROOT / "demo" / "checkpoint"
NORMS = ("input_layernorm.weight", "post_attention_layernorm.weight")
FOLLOWERS = ("q_proj.weight", "k_proj.weight", "v_proj.weight", "gate_proj.weight", "up_proj.weight")
CHANNEL = 37


def with_an_outlier(directory: Path, exponent: int) -> Path:
    """The demo model with a channel 2**exponent times larger in each norm, and its columns as much smaller."""
    shutil.copytree(DEMO, directory)
    header, data = read_safetensors(DEMO / "model.safetensors")
    changed = bytearray(data)
    for name, entry in header.items():
        if name.endswith((*NORMS, *FOLLOWERS)):
            start, stop = entry["data_offsets"]
            bits = np.frombuffer(changed[start:stop], dtype=np.uint16).reshape(entry["shape"]).copy()
            sign = 1 if name.endswith(NORMS) else -1
            bits[..., CHANNEL] += np.uint16(sign * (exponent << 7) % 65536)  # bfloat16's exponent begins at bit 7
            changed[start:stop] = bits.tobytes()
    write_safetensors(directory / "model.safetensors", header, bytes(changed))
    return directory


def test_an_outlier_channel_costs_nothing(tmp_path: Path) -> None:
    plain = export_to(DEMO, tmp_path / "plain")
    artefact = export_to(with_an_outlier(tmp_path / "checkpoint", 10), tmp_path / "artefact")
    stored = [read_safetensors(directory / "model.safetensors") for directory in (plain, artefact)]
    assert stored[0][1] == stored[1][1]


def test_a_model_without_outliers_stays_as_it_is() -> None:
    config = load_config(DEMO)
    weights = plan(config, ExportOptions(), Checkpoint.open(DEMO, config))
    assert smoothed(config, weights) == weights


def test_what_is_kept_in_float_stays_as_it_is(tmp_path: Path) -> None:
    directory = with_an_outlier(tmp_path / "checkpoint", 10)
    artefact = export_to(directory, tmp_path / "artefact", quantization="none")
    header, data = read_safetensors(artefact / "model.safetensors")
    start, stop = header["model.layers.0.input_layernorm.weight"]["data_offsets"]
    norm = np.abs(np.frombuffer(data[start:stop], dtype=np.float32))
    assert norm[CHANNEL] > 500 * np.median(norm)


@pytest.mark.parametrize(("column", "factor"), [(1.0, 32.0), (2.0**-10, 1024.0), (2.0**10, 1.0), (0.0, 2.0**20)])
def test_what_stands_out_is_shared(column: float, factor: float) -> None:
    norm, matrix = np.ones(64, dtype=np.float32), np.ones((700, 64), dtype=np.float32)
    norm[5], matrix[:, 5] = -1024, column
    factors = channel_factors(norm, ComputedRows(matrix))
    assert factors[5] == factor
    assert (np.delete(factors, 5) == 1).all()


def test_a_channel_that_is_a_little_larger_stays() -> None:
    norm = np.ones(64, dtype=np.float32)
    norm[5] = 31
    assert (channel_factors(norm, ComputedRows(np.ones((8, 64), dtype=np.float32))) == 1).all()
