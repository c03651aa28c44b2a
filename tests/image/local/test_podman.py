from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from image.local.cgroup import ROOT, _paths
from image.local.errors import ImageUnusable, ProgramMissing
from image.local.podman import BOOTSTRAP, Image, inspect_image, run_command
from image.local.settings import Settings

IMAGE = Image(("python", "-m", "handler"), frozenset({"PATH"}))


def command(**settings: object) -> str:
    given = Settings(image="firebrick:stream", **settings)  # type: ignore[arg-type]
    return " ".join(run_command(given, IMAGE, {"A": "b"}, "/proc/1/fd/9", "name", Path("/p")))


def test_lambdas_restrictions() -> None:
    line = command()
    for option in (
        "--read-only ",
        "--tmpfs /tmp:size=512m",
        "--user 993:990",
        "--cap-drop all",
        "no-new-privileges",
        "--ipc none",
        "mask=/sys/devices/system/cpu",
        "--network ns:/proc/1/fd/9",
        "nofile=1024:1024",
        "nproc=1024:1024",
    ):
        assert option in line


def test_storage() -> None:
    assert "--tmpfs /tmp:size=2048m" in command(storage_mb=2048)


def test_memory_and_what_it_buys() -> None:
    line = command(memory_mb=1769)
    assert "--memory 1769m --memory-swap 1769m --cpus 1.000" in line
    assert "--cpus 5.789" in command(memory_mb=10_240)


def test_processors_that_the_function_would_not_have_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert "--cpuset-cpus 0,1 " in command(memory_mb=512)
    assert "--cpuset-cpus 0,1,2,3,4,5 " in command(memory_mb=10_240)
    assert "--cpuset-cpus 0 " in command(cpus=1.0)


def test_the_entry_point_follows_what_podman_adds() -> None:
    assert command().endswith(" firebrick:stream HOME,HOSTNAME,TERM,container python -m handler")


def test_no_podman(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ProgramMissing, match="podman"):
        inspect_image("x")


def test_an_image_that_podman_does_not_know(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "podman").write_text("#!/bin/sh\necho 'Error: no such image' >&2\nexit 125\n")
    (tmp_path / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ImageUnusable, match="'x' cannot be used: Error: no such image"):
        inspect_image("x")


def test_control_groups_of_both_versions() -> None:
    paths = _paths("9:name=systemd:/a\n6:freezer:/a/b\n3:cpu,cpuacct:/c\n0::/u\n")
    assert paths["freezer"] == ROOT / "freezer" / "a" / "b"
    assert paths["cpuacct"] == ROOT / "cpu,cpuacct" / "c"
    assert paths[""] == ROOT / "u"


def test_the_bootstrap_runs_in_a_container_only() -> None:
    outside = subprocess.run(["sh", str(BOOTSTRAP), "-", "true"], capture_output=True, text=True)
    assert (outside.returncode, outside.stdout) == (2, "")
    assert "not the first process of a container" in outside.stderr
