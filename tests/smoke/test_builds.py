"""Building again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from image.build import TARGETS, build_images, prepare
from image.check import compare
from image.context import build_context
from image.engines import Engine
from image.push_check import measure
from image.sources import Sources


@pytest.fixture(scope="module")
def prepared() -> tuple[Engine, Sources]:
    """What builds here, and on what."""
    return prepare("podman", os.environ)


def test_two_builds_of_the_same_are_the_same(prepared: tuple[Engine, Sources], demo_artefact: Path) -> None:
    assert list(compare(*prepared, demo_artefact)) == list(TARGETS)


def test_podman_and_buildah_build_the_same(prepared: tuple[Engine, Sources], demo_artefact: Path) -> None:
    names = ("podman", "buildah")
    with build_context(demo_artefact) as context:
        built = [build_images(Engine(name), prepared[1], context, ["stream"], f"smoke-{name}") for name in names]
    for name in names:
        Engine(name).remove(f"smoke-{name}:stream")
    assert built[0]["smoke-podman:stream"] == built[1]["smoke-buildah:stream"]


@pytest.mark.parametrize("target", TARGETS)
def test_a_changed_line_pushes_the_code_and_its_byte_code(
    prepared: tuple[Engine, Sources], demo_artefact: Path, target: str
) -> None:
    pushed = measure(*prepared, demo_artefact, target)
    assert pushed.second < pushed.first
