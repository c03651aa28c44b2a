"""The bench of cold starts: what runs without root, and one small start where everything is there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cold_start import disk, ext4
from bench.cold_start.__main__ import main
from bench.cold_start.extents import Extent, Layout, file_extents, kind_of
from bench.cold_start.fetches import Amount, Fetch, by_file, by_kind, in_flight_over_time, mean_in_flight, read_log
from bench.cold_start.plot import draw
from bench.cold_start.profiles import CHUNK, PROFILES, Profile
from bench.cold_start.prompts import BEHIND, TOKENS, prompts_of
from bench.cold_start.report import baked_ratios, file_lines, lines, summarize
from bench.cold_start.start import Start, milestones
from model_export.convert import convert
from tests.conftest import ROOT

MS = 1_000_000  # nanoseconds
LAYOUT = Layout(
    [
        Extent(0, CHUNK, "/usr/lib/libc.so.6"),
        Extent(CHUNK, 2 * CHUNK, "/x/__pycache__/a.cpython-311.pyc"),
        Extent(4 * CHUNK, 8 * CHUNK, "/opt/firebrick/model/model.safetensors"),
    ]
)


def fetch(chunk: int, begin_ms: int, end_ms: int) -> Fetch:
    return Fetch(begin_ms * MS, end_ms * MS, chunk, chunk * CHUNK, 1)


FETCHES = [fetch(0, 0, 2), fetch(1, 2, 4), fetch(3, 4, 6), fetch(4, 6, 10), fetch(5, 6, 12)]
READY = {"ready_ms": 15.0, "ended": {"import_engine": 4.0, "import_rest": 6.0, "session": 9.0}}


def a_start(*fetches: Fetch) -> Start:
    ms = milestones(0, 20 * MS, 30 * MS, READY, fetches, LAYOUT, TOKENS)
    return Start(0, ms, fetches, (0.1, 0.2), 0.5, READY)


@pytest.fixture
def prefixed_artefact(demo_artefact: Path, tmp_path: Path) -> Path:
    """The demo's artefact with what it holds after a prompt's beginning."""
    beginning = tmp_path / "beginning.txt"
    beginning.write_text("Firebrick is a small server. It wakes when it is asked. " * 4)
    convert(demo_artefact, tmp_path / "prefixed", "stock", prefix_files=[beginning])
    return tmp_path / "prefixed"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/opt/firebrick/model/model.safetensors", "weights"),
        ("/usr/lib/libstdc++.so.6.0.30", "libraries"),
        ("/usr/bin/python3.11", "libraries"),
        ("/lib64/ld-linux-x86-64.so.2", "libraries"),
        ("/x/__pycache__/a.cpython-311.pyc", "byte code"),
        ("/opt/firebrick/start/libraries.bundle", "byte code"),
        ("/x/a.py", "other"),
        (None, "other"),
    ],
)
def test_a_file_is_of_a_kind(path: str | None, kind: str) -> None:
    assert kind_of(path) == kind


def test_a_byte_of_the_image_belongs_to_the_file_that_lies_there() -> None:
    assert LAYOUT.path_at(CHUNK - 1) == "/usr/lib/libc.so.6"
    assert LAYOUT.path_at(CHUNK) == "/x/__pycache__/a.cpython-311.pyc"
    assert LAYOUT.path_at(3 * CHUNK) is None
    assert LAYOUT.path_at(9 * CHUNK) is None


def test_what_was_fetched_is_told_by_kind() -> None:
    amounts = by_kind(FETCHES, LAYOUT)
    assert {kind: amount.chunks for kind, amount in amounts.items()} == {
        "weights": 2,
        "libraries": 1,
        "byte code": 1,
        "other": 1,
    }
    assert amounts["weights"] == Amount(2, 2 * CHUNK)


def test_chunks_in_flight_are_a_mean_over_time() -> None:
    assert mean_in_flight([fetch(4, 6, 10), fetch(5, 6, 12)]) == pytest.approx(10 / 6)
    assert mean_in_flight([]) == 0


def test_chunks_in_flight_over_time_end_at_none() -> None:
    steps = in_flight_over_time([fetch(4, 6, 10), fetch(5, 6, 12)])
    assert steps == [(6 * MS, 1), (6 * MS, 2), (10 * MS, 1), (12 * MS, 0)]


def test_the_log_is_read_in_the_order_of_the_touches(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("20 30 1 524288 2\n10 40 0 17 1\n")
    assert read_log(tmp_path / "log") == [Fetch(10, 40, 0, 17, 1), Fetch(20, 30, 1, 524288, 2)]


def test_milestones_count_from_exec() -> None:
    ms = milestones(0, 20 * MS, 30 * MS, READY, FETCHES, LAYOUT, TOKENS)
    assert ms == {
        "first line of Python": 5.0,
        "engine imported": 9.0,
        "all imported": 11.0,
        "first chunk of weights": 10.0,
        "session": 14.0,
        "ready": 20.0,
        "last chunk of weights": 12.0,
        f"first token of {TOKENS}": 30.0,
    }


def test_a_server_that_tells_no_parts_has_fewer_milestones() -> None:
    ms = milestones(0, 20 * MS, 30 * MS, {"ready_ms": 15.0}, [], LAYOUT, TOKENS)
    assert ms == {"first line of Python": 5.0, "ready": 20.0, f"first token of {TOKENS}": 30.0}


def test_bytes_take_as_long_as_the_bandwidth_says() -> None:
    assert PROFILES["near"].seconds(2 * 10**9) == 2.0
    assert PROFILES["half"].seconds(2 * 10**9) == 4.0
    assert PROFILES["warm"].seconds(2 * 10**9) == 0.0


def test_a_profile_is_told_as_the_disk_takes_it() -> None:
    options = Profile(near_us=5, far_us=7, far_permille=50, gb_per_s=0.5, depth=8).options()
    assert options[:5] == ["near_us=5", "far_us=7", "far_permille=50", "bytes_per_s=500000000", "depth=8"]


def test_a_summary_holds_a_start_against_the_disk() -> None:
    summary = summarize([a_start(*FETCHES)], PROFILES["near"], LAYOUT)
    assert summary["ready"]["weights"] == {"mb": 1.0, "chunks": 2}
    assert summary["mb_besides_weights"] == 1.6
    assert summary["load_ms"] == 2.6
    assert summary["ready_ratio"] == round(20 / (5 * CHUNK / 1e6), 2)
    assert "ready ÷ that" in "\n".join(lines({"near": summary}))


def test_a_warm_start_has_no_disk_to_be_held_against() -> None:
    summary = summarize([a_start()], PROFILES["warm"], LAYOUT)
    assert "load_ms" not in summary
    assert "ready" in "\n".join(
        lines({"warm": summary, "near": summarize([a_start(*FETCHES)], PROFILES["near"], LAYOUT)})
    )


def test_what_comes_after_ready_does_not_count_before_it() -> None:
    summary = summarize([a_start(*FETCHES, fetch(6, 25, 27))], PROFILES["near"], LAYOUT)
    assert summary["ready"]["weights"]["chunks"] == 2
    assert summary["first_token"]["weights"]["chunks"] == 3


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_a_picture_of_several_starts(suffix: str, magic: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"start{suffix}"
    draw({"near": a_start(*FETCHES), "warm": a_start(), "mixed": a_start(*FETCHES)}, LAYOUT, "a model", path)
    assert path.read_bytes().startswith(magic)


def test_without_fetches_there_is_no_picture(tmp_path: Path) -> None:
    draw({"warm": a_start()}, LAYOUT, "a model", tmp_path / "start.png")
    assert not (tmp_path / "start.png").exists()


def test_a_prompt_has_as_many_tokens_as_it_says(demo_artefact: Path) -> None:
    (prompt,) = prompts_of(["short"], demo_artefact).values()
    assert len(prompt.ids) == TOKENS
    assert min(prompt.ids) > 1


def test_a_prompt_behind_a_prefix_is_asked_with_and_without_its_cache(prefixed_artefact: Path) -> None:
    baked, unbaked = prompts_of(["baked", "unbaked"], prefixed_artefact).values()
    assert baked.ids == unbaked.ids
    assert len(baked.ids) > BEHIND
    assert (baked.environ, unbaked.environ) == ({}, {"FIREBRICK_PREFIX_CACHE": "0"})


def test_a_prefix_that_is_not_there_is_named(demo_artefact: Path) -> None:
    with pytest.raises(disk.Unavailable, match=r"has no prefix; .*model_export\.convert"):
        prompts_of(["baked"], demo_artefact)


def test_a_baked_prompt_is_held_against_the_same_one_unbaked() -> None:
    slow = Start(0, {"ready": 1.0, "first token of 9": 90.0}, [], (0, 0), 0)
    assert baked_ratios({"near baked": [a_start()], "near unbaked": [slow], "half baked": [a_start()]}) == {
        "near": round(30 / 90, 3)
    }


def test_what_was_fetched_is_told_by_file_without_the_weights() -> None:
    assert next(iter(by_file([*FETCHES, fetch(6, 7, 9)], LAYOUT).items())) == (
        "/opt/firebrick/model/model.safetensors",
        Amount(3, 3 * CHUNK),
    )
    told = file_lines(a_start(*FETCHES), LAYOUT)
    assert len(told) == 3
    assert told[0].split() == ["0.5", "MB", "1", "chunks", "/usr/lib/libc.so.6"]
    assert told[2].endswith("(inodes, directories, gaps)")


def test_what_is_missing_is_named_and_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["build/demo"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "cold start: skipped, mounting needs root: run it with sudo"
    assert json.loads(said[-1])["skipped"].startswith("mounting needs root")


def test_another_suffix_is_refused_before_any_work(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["build/demo", "--plot", "d.txt"])
    assert "--plot d.txt: expected a file that ends in .png or .svg" in capsys.readouterr().err


needs_disk = pytest.mark.skipif(disk.obstacle() is not None, reason=disk.obstacle() or "")


@needs_disk
def test_a_file_system_says_where_a_file_lies(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(3 * 4096))
    os.sync()
    try:
        extents = file_extents(tmp_path / "file")
    except OSError as error:
        pytest.skip(f"this file system doesn't say: {error}")
    assert sum(end - start for start, end in extents) == 3 * 4096


@needs_disk
def files(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    return root


def test_files_lie_layer_after_layer(tmp_path: Path) -> None:
    layers = [files(tmp_path / "1", "a/old", "a/x", "z"), files(tmp_path / "2", "a/x", "b/y")]
    root = files(tmp_path / "root", "a/new", "a/old", "a/x", "b/y", "z")
    assert ext4.in_order(root, layers) == ["z", "a", "a/new", "a/old", "a/x", "b", "b/y"]


@pytest.mark.skipif(shutil.which("debugfs") is None or shutil.which("mke2fs") is None, reason="no e2fsprogs here")
def test_an_ext4_has_the_files_with_modes_and_times(tmp_path: Path) -> None:
    root = files(tmp_path / "root", "a/b/x y")
    (root / "a/link").symlink_to("b/x y")
    (root / "a/b/x y").chmod(0o750)
    os.utime(root / "a/b/x y", (5, 1_700_000_000))
    ext4.make(root, tmp_path / "image")
    told = [
        subprocess.check_output(
            ["debugfs", "-R", request, str(tmp_path / "image")], text=True, stderr=subprocess.DEVNULL
        )
        for request in ('cat "/a/b/x y"', 'stat "/a/b/x y"', "stat /a/link")
    ]
    assert told[0] == "a/b/x y"
    assert "Mode:  0750" in told[1]
    assert f"mtime: 0x{1_700_000_000:x}" in told[1]
    assert 'Fast link dest: "b/x y"' in told[2]


@needs_disk
def test_a_prompt_from_the_artefact_on_a_lazy_disk(prefixed_artefact: Path, tmp_path: Path) -> None:
    small = ["--machine", "--rounds", "1", "--profile", "near", "--work", str(tmp_path / "work")]
    prompts = ["--prompt", "baked", "--prompt", "unbaked"]
    command = [sys.executable, "-m", "bench.cold_start", str(prefixed_artefact), *small, *prompts]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert list(told["profiles"]) == ["near baked", "near unbaked"]
    assert told["baked_ratio"]["near"] > 0


@needs_disk
def test_a_start_from_a_lazy_disk(demo_artefact: Path, tmp_path: Path) -> None:
    small = ["--machine", "--rounds", "1", "--files", "--work", str(tmp_path), "--profile", "near", "--profile", "warm"]
    command = [sys.executable, "-m", "bench.cold_start", str(demo_artefact), *small, "--plot", str(tmp_path / "x.png")]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])["profiles"]
    assert told["near"]["ready"]["libraries"]["chunks"] > 10
    assert told["near"]["ready"]["weights"]["chunks"] > 0
    assert 0 < told["near"]["ms"]["session"] < told["near"]["ms"]["ready"]
    assert told["warm"]["ms"].keys() < told["near"]["ms"].keys()
    assert (tmp_path / "x.png").exists()
    assert not [line for line in Path("/proc/mounts").read_text().splitlines() if str(tmp_path) in line]
