"""What is checked before anything is built, and what is built and pushed."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import image.publish
from image.engines import Engine
from image.errors import PushInvalid, TooLarge, WrongArchitecture
from image.publish import check, main, parse_pushes, publish
from image.sources import Sources


@dataclass
class Shelf:
    """A repository in memory."""

    tags: dict[str, str] = field(default_factory=dict)

    def has(self, tag: str) -> bool:
        return tag in self.tags

    def push(self, engine: Engine, image: str, tag: str) -> None:
        self.tags[tag] = image


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands in for the engine; tests/deployment has a real one."""
    built: list[str] = []
    monkeypatch.setattr(image.publish, "choose", lambda asked: (Engine("podman"), {}))
    monkeypatch.setattr(
        image.publish, "prepare", lambda asked, environ: (Engine("podman"), Sources("base", "base", "lwa", False))
    )
    monkeypatch.setattr(image.publish, "build_images", lambda engine, sources, context, targets: built.extend(targets))
    monkeypatch.setattr(Engine, "architecture", lambda self, name: "amd64")
    return built


def test_what_is_missing_is_built_and_pushed(demo_artefact: Path, built: list[str]) -> None:
    shelf = Shelf({"worker-1": "there"})
    pushed = publish(demo_artefact, shelf, {"stream": "stream-1", "worker": "worker-1"}, "x86_64", "", {})
    assert (pushed, built) == (["stream"], ["stream"])
    assert shelf.tags == {"worker-1": "there", "stream-1": "firebrick:stream"}


def test_what_is_there_needs_neither_builder_nor_artefact(tmp_path: Path) -> None:
    assert publish(tmp_path / "gone", Shelf({"stream-1": "there"}), {"stream": "stream-1"}, "x86_64", "", {}) == []


def test_an_image_for_other_processors_is_not_pushed(demo_artefact: Path, built: list[str]) -> None:
    shelf = Shelf()
    with pytest.raises(WrongArchitecture, match="was built for amd64, the function has arm64"):
        publish(demo_artefact, shelf, {"stream": "stream-1"}, "arm64", "", {})
    assert not shelf.tags


def test_an_artefact_beyond_lambdas_limit_is_refused_before_the_build(demo_artefact: Path, tmp_path: Path) -> None:
    large = tmp_path / "large"
    shutil.copytree(demo_artefact, large)
    manifest = json.loads((large / "manifest.json").read_text())
    manifest["files"]["another"] = {"size": 10 * 2**30, "sha256": "0" * 64}
    with pytest.raises(TooLarge, match="bake a smaller model"):
        image.publish.check_size(large, manifest)


def test_check_says_what_would_prevent_a_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothing"), "--check"], {}) == 2
    assert "give an artefact made by `make export`" in capsys.readouterr().err


def test_check_names_an_engine_that_is_not_known(demo_artefact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(demo_artefact), "--check", "--engine", "kaniko"], {}) == 2
    assert "ENGINE=kaniko is not known" in capsys.readouterr().err


def test_check_passes_where_all_is_there(demo_artefact: Path, built: list[str]) -> None:
    check(demo_artefact, "")
    assert built == []


@pytest.mark.parametrize("text", ["stream", "stream:", ":tag", "batch:tag"])
def test_a_push_without_target_and_tag_is_refused(text: str) -> None:
    with pytest.raises(PushInvalid, match="expected TARGET:TAG"):
        parse_pushes([text])


def test_pushes_are_targets_and_tags() -> None:
    assert parse_pushes(["stream:stream-1", "worker:worker-1"]) == {"stream": "stream-1", "worker": "worker-1"}
