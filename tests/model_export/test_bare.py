"""Checkpoints that were saved without a head, as those for embeddings are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.checkpoint import write_checkpoint
from model_export.convert import convert
from model_export.errors import ArchitectureUnsupported, CheckpointMismatch, OptionInvalid, PoolingUnsupported
from model_export.inspect import describe_directory
from model_export.verify import main as verify
from tests.configs import CONFIGS
from tests.model_export.helpers import (
    Graph,
    checkpoint_states,
    difference,
    edit_json,
    export_to,
    read_safetensors,
    some_ids,
    tree,
    write_safetensors,
)

TIED, UNTIED = "qwen3", "mistral"


def strip(directory: Path) -> None:
    """Take the head away, and the names that only it makes necessary."""
    path = directory / "model.safetensors"
    header, data = read_safetensors(path)
    head = header.pop("lm_head.weight", None)
    kept = {name.removeprefix("model."): entry for name, entry in header.items() if name != "__metadata__"}
    if head:  # it lies somewhere between the others: move those behind it up
        begin, end = head["data_offsets"]
        data = data[:begin] + data[end:]
        for entry in kept.values():
            if entry["data_offsets"][0] >= end:
                entry["data_offsets"] = [offset - (end - begin) for offset in entry["data_offsets"]]
    write_safetensors(path, kept, data)


def bare(tmp_path: Path, name: str, **changes: Any) -> Path:
    directory = tmp_path / "checkpoint"
    write_checkpoint(CONFIGS[name], directory)
    strip(directory)
    edit_json(directory / "config.json", **changes)
    return directory


def only(artefact: Path) -> Any:
    return json.loads((artefact / "firebrick.json").read_text())["embeddings"]["only"]


def test_a_tied_one_is_what_the_whole_is(tmp_path: Path) -> None:
    write_checkpoint(CONFIGS[TIED], tmp_path / "whole")
    whole = export_to(tmp_path / "whole", tmp_path / "a", embeddings="last", name="m")
    artefact = export_to(bare(tmp_path, TIED), tmp_path / "b", embeddings="last", name="m")
    assert tree(artefact) == tree(whole)
    assert not only(artefact)


@pytest.mark.parametrize("architecture", ["MistralForCausalLM", "MistralModel"])
def test_one_whose_head_was_its_own_gives_embeddings_only(tmp_path: Path, architecture: str) -> None:
    directory = bare(tmp_path, UNTIED, architectures=[architecture])
    artefact = export_to(directory, tmp_path / "a", quantization="none", embeddings="last")
    assert only(artefact)
    assert "embeddings last, no text" in describe_directory(artefact)
    ids = some_ids(20, 300)
    states = Graph(artefact).states(ids[None, :], [20], range(20))
    assert difference(states, checkpoint_states(directory, ids)) < 1e-5
    assert np.abs(states).max() > 0.1


def test_such_a_one_is_verified_against_its_checkpoint(tmp_path: Path) -> None:
    directory = bare(tmp_path, UNTIED)
    artefact = export_to(directory, tmp_path / "a", quantization="none", embeddings="last")
    assert verify([str(artefact), "--against", str(directory)]) == 0


def test_without_a_head_and_without_embeddings_there_is_nothing_to_export(tmp_path: Path) -> None:
    directory = bare(tmp_path, UNTIED)
    for options in ({}, {"embeddings": "none"}):
        with pytest.raises(PoolingUnsupported, match="no lm_head"):
            export_to(directory, tmp_path / "a", **options)


def test_a_conversion_cannot_take_them_away(tmp_path: Path) -> None:
    artefact = export_to(bare(tmp_path, UNTIED), tmp_path / "a", embeddings="last")
    with pytest.raises(OptionInvalid, match="no head"):
        convert(artefact, tmp_path / "b", "stock", embeddings="none")
    convert(artefact, tmp_path / "b", "stock", embeddings="mean")
    assert only(tmp_path / "b")


def test_a_head_that_is_missing_beside_full_names_is_an_error(tmp_path: Path) -> None:
    directory = bare(tmp_path, UNTIED)
    header, data = read_safetensors(directory / "model.safetensors")
    names = {f"model.{name}": entry for name, entry in header.items() if name != "__metadata__"}
    write_safetensors(directory / "model.safetensors", names, data)
    with pytest.raises(CheckpointMismatch, match=r"lm_head\.weight missing"):
        export_to(directory, tmp_path / "a", embeddings="last")


def test_a_decoder_that_looks_both_ways_is_refused(tmp_path: Path) -> None:
    directory = bare(tmp_path, TIED, is_causal=False)
    with pytest.raises(ArchitectureUnsupported, match="is_causal"):
        export_to(directory, tmp_path / "a", embeddings="mean")
