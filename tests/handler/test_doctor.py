from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from handler.doctor import examine, main
from model_export.artefact import write_manifest
from tests.kernels.models import LIBRARY, needs_library
from tests.model_export.helpers import export_to


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """An environment whose library isn't there."""
    return {"FIREBRICK_KERNELS": str(tmp_path / "none.so")}


def test_a_machine_without_the_library(nowhere: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], nowhere) == 0
    text = capsys.readouterr().out
    assert [line.split()[0] for line in text.splitlines()] == ["processor", "threads", "memory", "library", "native"]
    assert "not usable: the library is missing" in text


def test_json_is_one_line(nowhere: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json"], nowhere) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found["threads"] >= 1
    assert found["read_gb_per_s"] > 0


def test_threads_are_explained(nowhere: dict[str, str]) -> None:
    found = examine({**nowhere, "FIREBRICK_THREADS": "3"}, None)
    assert (found["threads"], found["threads_from"]) == (3, "FIREBRICK_THREADS")


def test_a_number_of_threads_that_cannot_be(nowhere: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], {**nowhere, "FIREBRICK_THREADS": "many"}) == 2
    assert "FIREBRICK_THREADS='many'" in capsys.readouterr().err


def test_a_stock_artefact_can_be_served_without(
    demo_artefact: Path, nowhere: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(demo_artefact)], nowhere) == 0
    assert "stock kernels, float32 cache; can be served" in capsys.readouterr().out


def test_a_native_artefact_cannot(
    checkpoint: Path, tmp_path: Path, nowhere: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    directory = export_to(checkpoint, tmp_path / "out", kernels="native")
    assert main([str(directory)], nowhere) == 2
    assert "it asks for native kernels: the library is missing" in capsys.readouterr().out


def test_a_prefix_that_does_not_fit_is_an_obstacle(
    demo_artefact: Path, tmp_path: Path, nowhere: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    directory = Path(shutil.copytree(demo_artefact, tmp_path / "artefact"))
    (directory / "prefix-1.kv").write_bytes(b"prefix")
    write_manifest(directory, {})
    assert main([str(directory)], nowhere) == 2
    assert "prefix-1.kv is no whole prefix" in capsys.readouterr().out


def test_what_is_no_artefact_is_said(
    tmp_path: Path, nowhere: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)], nowhere) == 2
    assert "firebrick.json is missing" in capsys.readouterr().out


def test_a_library_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.so").write_bytes(b"no library")
    found = examine({"FIREBRICK_KERNELS": str(tmp_path / "x.so")}, None)
    assert "x.so can't be loaded" in found["kernels"]["reason"]


@needs_library
def test_the_best_instructions_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    found = examine({"FIREBRICK_KERNELS": str(LIBRARY)}, None)["kernels"]
    assert found["isa"] == found["available"][0]
    assert found["reason"].startswith("the best")
