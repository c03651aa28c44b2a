from __future__ import annotations

import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handler.engine.session import LEVELS, SessionOptions, create_session
from handler.errors import ArtefactDamaged
from tests.model_export.helpers import export_to, some_ids


@pytest.fixture(scope="module")
def directory(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_to(checkpoints / "qwen2", tmp_path_factory.mktemp("session") / "artefact", quantization="none")


def logits(directory: Path, threads: int = 1, chosen: SessionOptions | None = None) -> Any:
    session = create_session(directory / "model.onnx", threads, chosen)
    cache = np.zeros((1, 1, 16, 16), dtype=np.float32)
    feeds = {
        "input_ids": some_ids(16, 320)[None, :],
        "seqlens_k": np.array([15], dtype=np.int32),
        "total_sequence_length": np.array(16, dtype=np.int32),
        "logits_indices": np.arange(16, dtype=np.int64),
        **{i.name: cache for i in session.get_inputs() if i.name.startswith("past_key_values.")},
    }
    return session.run(["logits"], feeds)[0]


def test_a_session_has_the_graph_s_inputs_and_outputs(directory: Path) -> None:
    session = create_session(directory / "model.onnx", 1)
    inputs = {i.name for i in session.get_inputs()}
    assert {"input_ids", "seqlens_k", "total_sequence_length", "logits_indices", "past_key_values.1.value"} <= inputs
    assert session.get_outputs()[0].name == "logits"


def test_threads_are_those_asked_for(directory: Path) -> None:
    options = create_session(directory / "model.onnx", 2).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)


@pytest.mark.parametrize("level", sorted(LEVELS))
def test_no_level_of_optimization_changes_the_logits(level: Any, directory: Path) -> None:
    np.testing.assert_allclose(logits(directory, 1, SessionOptions(level)), logits(directory), atol=1e-5)


SWITCHES = [field.name for field in fields(SessionOptions) if field.type == "bool"]


@pytest.mark.parametrize(
    "opposite", [{name: not getattr(SessionOptions(), name)} for name in SWITCHES] + [{"spin_us": 1}]
)
def test_no_option_changes_the_logits(opposite: Any, directory: Path) -> None:
    np.testing.assert_allclose(logits(directory, 2, SessionOptions(**opposite)), logits(directory), atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"no graph"])
def test_a_graph_that_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ArtefactDamaged, match=r"model\.onnx can't be loaded: .*; export the model again"):
        create_session(tmp_path / "model.onnx", 1)


def test_a_missing_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactDamaged, match=r"model\.onnx can't be loaded"):
        create_session(tmp_path / "model.onnx", 1)


@pytest.mark.parametrize("weights", [None, b"", b"x" * 5000])
def test_weights_that_are_not_there_are_refused(weights: bytes | None, directory: Path, tmp_path: Path) -> None:
    shutil.copy(directory / "model.onnx", tmp_path)
    if weights is not None:
        (tmp_path / "model.safetensors").write_bytes(weights)
    with pytest.raises(ArtefactDamaged) as refused:
        create_session(tmp_path / "model.onnx", 1)
    assert "\n" not in str(refused.value)
