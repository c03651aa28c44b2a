from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.baselines.asking import function_ready, llama_ready
from bench.baselines.programs import REFERENCE, REPOSITORY, Program, firebrick, from_image
from bench.baselines.report import summarize, table
from bench.baselines.roots import root_of, size_of
from bench.baselines.starts import Start, measure
from bench.cold_start.disk import Unavailable
from bench.port import free_port

with_torch = pytest.mark.skipif(not REFERENCE.exists(), reason="torch isn't installed")


def function(module: str) -> Program:
    return Program("a test", [sys.executable, "-m", "bench.baselines.runtime", module], function_ready)


def test_a_function_is_started_asked_and_timed() -> None:
    start = measure(function("tests.bench.continuing"), 8)
    assert 0 < start.ready < start.first_token
    assert start.processor_ready <= start.processor
    assert 5 < start.tokens_per_second < 100  # it sleeps for 20 ms a token


def test_a_function_that_can_t_be_imported_is_reported(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Unavailable, match="ended with exit code 1"):
        measure(function("tests.bench.nothing"), 1)
    assert "No module named" in capfd.readouterr().err


def test_a_server_that_ends_before_it_listens_is_reported() -> None:
    with (
        subprocess.Popen([sys.executable, "-c", "exit(3)"], stdout=subprocess.PIPE, text=True) as process,
        pytest.raises(Unavailable, match="exit code 3"),
    ):
        llama_ready(process, free_port())


@pytest.mark.skipif(REFERENCE.exists(), reason="torch is installed")
def test_without_torch_it_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="make test-reference"):
        from_image("a test", tmp_path)


def test_a_root_has_what_the_server_needs(demo_artefact: Path, tmp_path: Path) -> None:
    with root_of(firebrick("a test", demo_artefact), tmp_path) as root:
        for path in (demo_artefact / "model.onnx", REPOSITORY / "handler" / "__main__.py", sys.executable):
            assert os.path.lexists(root / str(path)[1:])
        assert list(root.rglob("libc.so.6"))
        assert list(root.rglob("onnxruntime/capi/*.so"))
        assert size_of(root) > 50_000_000
    assert not root.exists()


def test_medians_are_told_in_a_table() -> None:
    starts = [Start(ready, 2.0, 0.5, 10.0, 0.3, 0.4, 0.025, 200_000_000) for ready in (1.0, 3.0, 1.5)]
    told = table({"ours": summarize("a test", starts, 7_000_000)})
    assert told.splitlines()[-1] == "| ours: a test | 1.50 | 2.00 | 0.30 | 0.40 | 0.50 | 10.0 | 25 | 200 | 7 |"


@pytest.mark.parametrize("names", [("firebrick", "stock"), pytest.param(("from_image", "from_s3"), marks=with_torch)])
def test_programs_are_measured(names: tuple[str, ...], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.baselines", "--shape", "tiny", *(f"--only={name}" for name in names)]
    command += ["--rounds", "1", "--tokens", "4", "--work", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(names) == result["programs"].keys()
    assert all(row["first_token"] > row["ready"] > 0 for row in result["programs"].values())
