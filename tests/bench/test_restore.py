"""The stand-in for a restore: what it counts, and one small one where everything is there."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cold_start import disk, pages
from bench.cold_start.profiles import CHUNK
from bench.cold_start.restore import Prefetchers, WorkingSet, main
from tests.conftest import ROOT


def test_other_memory_comes_first_and_weights_last() -> None:
    used = WorkingSet({"/x/model.safetensors": [0, 2], "/x/lib.so": [1]}, 10 * CHUNK, CHUNK + 1)
    assert used.pieces("/memory") == [
        ("/memory", 0),
        ("/memory", 1),
        ("/x/lib.so", 1),
        ("/x/model.safetensors", 0),
        ("/x/model.safetensors", 2),
    ]
    assert used.nbytes == 11 * CHUNK + 1


def test_what_is_mapped_and_used_is_counted_and_put_out(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(3 * CHUNK))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    assert memory[2 * CHUNK + 5] >= 0
    areas = pages.file_areas(os.getpid(), tmp_path)
    assert pages.present_chunks(os.getpid(), areas)[str(path)][-1] == 2
    assert pages.present_bytes(os.getpid(), areas) >= pages.PAGE
    pages.evict(os.getpid(), areas)
    assert pages.present_bytes(os.getpid(), areas) == 0
    memory.close()


def test_what_was_used_since_is_told_apart() -> None:
    pages.clear_referenced(os.getpid())
    used = bytearray(os.urandom(8 << 20))
    of_files, others = pages.referenced_bytes(os.getpid())
    assert others > len(used) // 2
    assert of_files > 0


def test_prefetchers_bring_all_pieces(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3 * CHUNK))
    fetchers = Prefetchers([(str(path), number) for number in range(3)], 2)
    fetchers.wait_for(str(path))
    fetchers.end()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--profile", "warm"], "a restore needs a disk"),
        (["--prefetchers", "-1"], "expected 0 or more"),
        (["--rounds", "0"], "expected 1 or more"),
        (["--env", "A"], "expected NAME=VALUE"),
    ],
)
def test_wrong_options_are_refused_before_any_work(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["build/demo", *options])
    assert said in capsys.readouterr().err


@pytest.mark.skipif(disk.obstacle() is not None, reason=disk.obstacle() or "")
def test_a_restore_from_a_lazy_disk(demo_artefact: Path, tmp_path: Path) -> None:
    small = ["--machine", "--rounds", "1", "--profile", "near", "--prefetchers", "8", "--work", str(tmp_path)]
    command = [sys.executable, "-m", "bench.cold_start.restore", str(demo_artefact), *small]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    near = told["profiles"]["near"]
    assert told["stand_in"] is True
    assert near["left_in_memory_mb"] < near["working_set_mb"]
    assert near["prefetchers"]["8"]["fetched_mb"] >= near["other_memory_mb"] - 1
    assert not [line for line in Path("/proc/mounts").read_text().splitlines() if str(tmp_path) in line]
