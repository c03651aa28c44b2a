"""The images' entry point, and what stands in for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from image.context import LAUNCHER, ROOT

SCRIPT = ROOT / "image" / "start" / "launcher.sh"
BUILT = ROOT / LAUNCHER


@pytest.fixture(params=[SCRIPT, BUILT], ids=["script", "built"])
def launcher(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    if not path.is_file():
        pytest.skip("the launcher isn't built: `make tools` does it where there is cargo")
    return path


def launch(launcher: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(launcher)] if launcher.suffix == ".sh" else [str(launcher)]
    environ = {"PATH": "/usr/bin:/bin", **environ}
    return subprocess.run([*command, *arguments], env=environ, capture_output=True, text=True, timeout=60)


def test_it_becomes_the_program_with_its_arguments_and_environment(launcher: Path) -> None:
    done = launch(launcher, "sh", "-c", 'echo "$1 $NAME"; exit 3', "sh", "a b", NAME="value")
    assert (done.stdout, done.returncode) == ("a b value\n", 3)


def test_the_program_keeps_the_process(launcher: Path) -> None:
    command = ["sh", str(launcher)] if launcher.suffix == ".sh" else [str(launcher)]
    with subprocess.Popen([*command, "sh", "-c", "echo $$"], stdout=subprocess.PIPE, text=True) as process:
        assert process.communicate()[0].strip() == str(process.pid)


def test_weights_that_are_not_there_are_no_failure(launcher: Path, tmp_path: Path) -> None:
    assert launch(launcher, "echo", "here", FIREBRICK_MODEL_DIR=str(tmp_path)).stdout == "here\n"


def test_a_program_that_is_not_there_is_exit_code_127(launcher: Path) -> None:
    done = launch(launcher, "no-such-program")
    assert done.returncode == 127
    assert "no-such-program" in done.stderr
