"""Every bench runs and ends in one JSON line with the keys that others read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.server import Server
from model_export.convert import convert
from tests.conftest import ROOT
from tests.kernels.models import needs_library


def run(*arguments: str) -> dict[str, Any]:
    output = subprocess.check_output([sys.executable, "-m", *arguments], cwd=ROOT, text=True, stderr=subprocess.DEVNULL)
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    assert result["machine"]["read_gb_per_s"] > 0
    return result


def test_startup_tells_the_parts(demo_artefact: Path) -> None:
    result = run("bench.startup", str(demo_artefact), "--runs", "1")
    assert {"ready", "first_token", "session", "tokenizer", "exec_to_first_token"} <= result["ms"].keys()


def test_startup_of_the_worker_tells_the_parts(demo_artefact: Path) -> None:
    result = run("bench.startup", str(demo_artefact), "--runs", "1", "--worker")
    assert {"ready", "import_rest", "session", "warm_up"} <= result["ms"].keys()


def test_startup_tells_what_a_prefix_costs(demo_artefact: Path, tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text(
        "Once upon a time there was a little girl who lived in a small house by the sea."
    )
    convert(demo_artefact, tmp_path / "artefact", "stock", prefix_files=[tmp_path / "story.txt"])
    result = run("bench.startup", str(tmp_path / "artefact"), "--runs", "1", "--prefix")
    assert result["tokens"] > 5
    assert result["ratio"] > 0.1


def test_startup_can_read_the_weights_from_the_disk(demo_artefact: Path) -> None:
    assert run("bench.startup", str(demo_artefact), "--runs", "1", "--cold")["cold"]


def test_api_key_tells_what_reading_it_costs(demo_artefact: Path) -> None:
    result = run("bench.api_key", str(demo_artefact), "--runs", "1")
    assert result["ms"]["in the server, https"]["processor"] > 0
    assert {"ready", "api_key"} <= result["ms"]["start, https"].keys()


def test_serve_tells_speed_memory_and_the_second_turn(demo_artefact: Path) -> None:
    small = ["--prompt-tokens", "40", "--tokens", "4", "--runs", "1", "--cached-tokens", "50", "--new-tokens", "5"]
    result = run("bench.serve", str(demo_artefact), *small)
    assert result["prompt_tokens"] == 40
    assert result["peak_memory_ratio"] == round(result["peak_memory_bytes"] / result["artefact_bytes"], 2)
    assert result["second_turn_cached_tokens"] == 50
    assert result["second_turn_bare_ms"] > 0


@needs_library
def test_batch_tells_every_number_of_sequences_and_depth(native_artefact: Path) -> None:
    small = ["--sequences", "1", "3", "--tokens", "2", "--prompt-tokens", "4", "--rounds", "1", "--depth", "0", "40"]
    figures = run("bench.batch", str(native_artefact), *small)["figures"]
    assert [(row["depth"], row["sequences"]) for row in figures] == [(0, 1), (0, 3), (40, 1), (40, 3)]
    assert all(0 < row["outside_ms"] < row["step_ms"] for row in figures)


@needs_library
def test_cost_tells_what_tokens_cost_by_slots(native_artefact: Path) -> None:
    small = ["--slots", "1", "2", "--messages", "3", "--prompt-tokens", "4", "--tokens", "4", "--rounds", "1"]
    result = run("bench.cost", str(native_artefact), *small, "--memory-mb", "2048")
    assert [row["slots"] for row in result["figures"]] == [1, 2]
    assert result["figures"][0]["least_memory_mb"] <= result["figures"][1]["least_memory_mb"]
    for row in result["figures"]:
        assert row["gb_seconds_per_million"] == pytest.approx(2 / row["tokens_per_second"] * 1e6, rel=0.2)
        assert row["million_tokens_usd"] > 0


@needs_library
def test_lookup_tells_tokens_and_steps_of_every_task(native_artefact: Path) -> None:
    small = ["--count", "2", "--tokens", "24", "--rounds", "1"]
    tasks = run("bench.lookup", str(native_artefact), *small)["tasks"]
    assert {"extraction", "free text", "free text, sampled"} <= tasks.keys()
    # How many are guessed depends on what steps take, so on whoever else wants the processors.
    assert all(0 < task["steps"] <= task["tokens"] for task in tasks.values())


@needs_library
def test_lookup_can_say_what_is_expected(native_artefact: Path) -> None:
    small = ["--count", "1", "--rounds", "1", "--only", "rewriting"]
    told = run("bench.lookup", str(native_artefact), *small, "--scripted", "0.5")
    assert told["scripted"] == 0.5
    assert 0 < told["tasks"]["rewriting"]["steps"] <= told["tasks"]["rewriting"]["tokens"]


def test_lookup_names_the_tasks_that_there_are(demo_artefact: Path) -> None:
    command = [sys.executable, "-m", "bench.lookup", str(demo_artefact), "--only", "poetry"]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 2
    assert "no task poetry; there are extraction" in done.stderr


@needs_library
def test_constrained_tells_masks_and_both_ratios(native_artefact: Path) -> None:
    result = run("bench.constrained", str(native_artefact), "--rounds", "1", "--tokens", "24")
    assert result["mask"]["tokens"] == 128_256
    assert result["mask"]["mask_ms"] > 0
    assert result["decode"]["constrained_ratio"] > 0
    assert result["decode"]["long_keys_ratio"] > 0
    assert not result["imported_at_start"]


def test_a_server_that_is_measured_is_never_stopped_by_its_log(demo_artefact: Path) -> None:
    with Server(demo_artefact, FIREBRICK_VERIFY="quick", FIREBRICK_LOG_TEXT="1") as server:
        for n in range(20):
            server.complete([n % 10] * 1000, 1)  # more than a pipe holds


def test_load_tells_what_each_client_gets_and_who_is_refused(demo_artefact: Path) -> None:
    size = ["--slots", "2", "--clients", "3", "--queue", "1", "--requests", "6"]
    result = run("bench.load", str(demo_artefact), *size, "--rounds", "1", "--tokens", "48")
    assert sum(result["tokens_of_each"]) == 6 * 48
    assert result["first_token_ms"] <= result["slowest_first_token_ms"]
    assert result["refused"] > 0
    assert result["failed"] == 0
    assert len(result["anonymous_bytes"]) == 3


def test_abuse_finds_no_fault(demo_artefact: Path) -> None:
    few = ["--connections", "20", "--connected", "30", "--bombs", "10", "--cancelled", "10", "--count", "40"]
    result = run("bench.abuse", str(demo_artefact), *few)
    assert result["faults"] == []
    assert (result["header_bombs"], result["cancelled"]) == ({"431": 10}, {"left": 10})
    assert sum(result["generated"].values()) >= 40


def test_export_tells_time_and_memory() -> None:
    result = run("bench.export", "--shape", "tiny")
    assert result["seconds"] > 0
    assert result["peak_memory_bytes"] > 10_000_000
    assert result["processor_seconds"] > 0


def test_export_passes_options_on() -> None:
    small, large = (run("bench.export", "--shape", "tiny", *o) for o in ([], ["--quantization", "none"]))
    assert large["artefact_bytes"] > small["artefact_bytes"]


def test_session_measures_every_variant(demo_artefact: Path) -> None:
    from bench.session import VARIANTS

    result = run("bench.session", str(demo_artefact), "--prompt-tokens", "20", "--tokens", "2", "--rounds", "1")
    assert result["variants"].keys() == VARIANTS.keys()


@pytest.mark.skipif(not os.access("/sys/fs/cgroup/cpu", os.W_OK), reason="no control groups that can be written")
def test_quota_tries_every_number_of_threads(demo_artefact: Path) -> None:
    rows = run("bench.quota", str(demo_artefact), "--rounds", "1")["rows"]
    assert {row["threads"] for row in rows} == set(range(1, len(os.sched_getaffinity(0)) + 1))
    assert all(row["decode"] > 0 for row in rows)


def test_decode_compares_artefacts(demo_artefact: Path) -> None:
    result = run("bench.decode", str(demo_artefact), "--rounds", "1", "--tokens", "2")
    figures = result["figures"][str(demo_artefact)]
    assert figures["prefill_128"] > 0
    assert figures["decode_512"] > 0
    assert figures["decode_2048"] is None  # beyond the model's context
    assert figures["ready_ms"] > 0


@needs_library
def test_kernels_tells_every_operator_and_number_of_rows() -> None:
    result = run("bench.kernels", "--isa", "portable", "--rounds", "1", "--megabytes", "1", "--rows", "1", "3")
    assert {(row["operator"], row["rows"]) for row in result["figures"]} == {
        (f"linear {bits}, {scale_bits}", rows) for bits, scale_bits in ((4, 16), (4, 8), (8, 16)) for rows in (1, 3)
    }
    assert all(0.001 < row["relative_error"] < 0.01 for row in result["figures"])


@needs_library
def test_attention_tells_each_operator_and_case() -> None:
    result = run("bench.attention", "--rounds", "1", "--longest", "128")
    assert {figure["operator"] for figure in result["figures"]} == {"AttentionF16", "AttentionInt8"}
    assert {(figure["tokens"], figure["length"]) for figure in result["figures"]} == {(1, 128), (128, 128)}
    assert all(figure["best_ms"] > 0 for figure in result["figures"])
