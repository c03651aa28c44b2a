from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from model_export.errors import ConfigInvalid, PoolingUnsupported
from model_export.pooling import declared
from tests.model_export.helpers import export_to

MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]
DENSE = {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}
LAST = {"word_embedding_dimension": 64, "pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True}


def write(directory: Path, pooling: Any = LAST, modules: Any = MODULES) -> Path:
    (directory / "1_Pooling").mkdir(parents=True, exist_ok=True)
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return directory


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (LAST, "last"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": "mean", "include_prompt": True}, "mean"),
    ],
)
def test_what_sentence_transformers_wrote_is_read(tmp_path: Path, pooling: Any, expected: str) -> None:
    assert declared(write(tmp_path, pooling)) == expected


def test_a_plain_checkpoint_says_nothing(tmp_path: Path) -> None:
    assert declared(tmp_path) is None


@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode_cls_token": True},
        {"pooling_mode": "weightedmean"},
        {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
        {},
    ],
)
def test_a_pooling_that_is_not_built_is_named(tmp_path: Path, pooling: Any) -> None:
    with pytest.raises(PoolingUnsupported, match=r"config\.json asks for the pooling '"):
        declared(write(tmp_path, pooling))


@pytest.mark.parametrize("modules", [[*MODULES, DENSE], MODULES[:1]])
def test_layers_behind_the_decoder_are_not_dropped_in_silence(tmp_path: Path, modules: Any) -> None:
    with pytest.raises(PoolingUnsupported, match=r"Dense|no Pooling"):
        declared(write(tmp_path, modules=modules))


@pytest.mark.parametrize(
    "modules", [{}, [7], [{"type": "x"}], [{"path": 7, "type": "x"}], [{"path": "../x", "type": "a.Pooling"}]]
)
def test_a_list_of_modules_that_is_none(tmp_path: Path, modules: Any) -> None:
    with pytest.raises(ConfigInvalid, match=r"modules\.json"):
        declared(write(tmp_path, modules=modules))


def test_a_pooling_without_its_file(tmp_path: Path) -> None:
    (write(tmp_path) / "1_Pooling" / "config.json").unlink()
    with pytest.raises(ConfigInvalid, match=r"config\.json is missing"):
        declared(tmp_path)


# ---------------------------------------------------------------- exports


def exported(checkpoint: Path, out: Path, **options: Any) -> Any:
    return json.loads((export_to(checkpoint, out, **options) / "firebrick.json").read_text())["embeddings"]


def test_an_export_takes_the_checkpoints_pooling_and_the_user_may_say_otherwise(
    checkpoint: Path, tmp_path: Path
) -> None:
    assert exported(checkpoint, tmp_path / "a") is None
    assert exported(checkpoint, tmp_path / "b", embeddings="mean") == {"pooling": "mean", "only": False}
    write(checkpoint)
    assert exported(checkpoint, tmp_path / "c") == {"pooling": "last", "only": False}
    assert exported(checkpoint, tmp_path / "d", embeddings="none") is None


def test_an_export_of_what_is_not_built_says_how_to_go_on(checkpoint: Path, tmp_path: Path) -> None:
    write(checkpoint, {"pooling_mode": "max"})
    with pytest.raises(PoolingUnsupported, match="--embeddings mean, last or none"):
        export_to(checkpoint, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert exported(checkpoint, tmp_path / "b", embeddings="mean") == {"pooling": "mean", "only": False}
