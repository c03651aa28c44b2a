"""Which program builds, and how it is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from image.engines import EPOCH, Build, Engine, choose, obstacle
from image.errors import NoEngine, UnknownEngine

BUILD = Build(Path("/context"), "stream", "firebrick:stream", {"MODEL_DIR": "model"}, {"pip.conf": Path("/secret")})


def test_the_first_that_works_is_chosen_and_the_reasons_against_others_are_told() -> None:
    engine, reasons = choose(try_out=lambda name: "no daemon" if name == "docker" else None)
    assert (engine.name, reasons) == ("podman", {"docker": "no daemon"})


def test_the_one_that_was_asked_for_is_tried_alone() -> None:
    tried: list[str] = []
    engine, _ = choose("buildah", try_out=lambda name: tried.append(name))
    assert (engine.name, tried) == ("buildah", ["buildah"])


def test_an_unknown_one_is_refused_by_name() -> None:
    with pytest.raises(UnknownEngine, match=r"ENGINE=kaniko .*docker, podman, buildah"):
        choose("kaniko")


def test_none_that_works_is_told_with_every_reason_and_a_remedy() -> None:
    with pytest.raises(NoEngine, match=r"docker: broken; podman: broken; buildah: broken.*apt-get install"):
        choose(try_out=lambda name: "broken")


def test_what_is_not_installed_is_an_obstacle() -> None:
    assert obstacle("no-such-engine") == "not installed"


@pytest.mark.parametrize("name", ["podman", "buildah"])
def test_daemonless_engines_are_given_one_time_for_all_files(name: str) -> None:
    command = Engine(name).build_command(BUILD)
    assert command[:2] == [name, "build"]
    assert command[command.index("--timestamp") + 1] == str(EPOCH)


def test_docker_is_given_that_time_too() -> None:
    assert f"SOURCE_DATE_EPOCH={EPOCH}" in Engine("docker").build_command(BUILD)


def test_secrets_are_mounted_and_are_no_arguments() -> None:
    command = Engine("podman").build_command(BUILD)
    assert command[command.index("--secret") + 1] == "id=pip.conf,src=/secret"
    assert [word for word in command if word.startswith("MODEL_DIR")] == ["MODEL_DIR=model"]
