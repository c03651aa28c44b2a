"""The arithmetic of scaling, with prices that nobody asks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.scaling import PRICES, Load, Size, break_even, costs, environments, tasks
from tests.conftest import ROOT

LOAD = Load(
    requests_per_day=8640,
    prompt_tokens=100,
    answer_tokens=50,
    prefill=100,
    decode=10,
    cold_share=0.5,
    cold_s=2,
    peak=2,
)
SIZE = Size(memory_gb=2, vcpu=1, task_gb=2, together=5, minimum_tasks=1, headroom=0.5)
REGION: dict[str, Any] = {
    "lambda": {
        "request": 1.0,
        "x86_64": {"gb_second": 0.1, "provisioned_gb_second": 0.01, "provisioned_duration_gb_second": 0.05},
    },
    "fargate": {"x86_64": {"vcpu_hour": 10.0, "gb_hour": 5.0}},
    "load_balancer": {"hour": 7.0, "lcu_hour": 2.0},
    "ec2_instance_hour": {"gpu": 100.0},
}


def test_a_requests_time_and_the_utilization() -> None:
    assert LOAD.busy_s == 6
    assert LOAD.utilization == pytest.approx(0.6)
    assert LOAD.at(1.2).requests_per_day == pytest.approx(17_280)


def test_a_function_pays_for_answers_cold_starts_and_requests() -> None:
    found = costs(LOAD, SIZE, REGION, "x86_64", "gpu")
    assert found["lambda"] == pytest.approx(8640 * 730 / 24 * ((6 + 0.5 * 2) * 2 * 0.1 + 1.0))


def test_provisioned_concurrency_pays_for_the_peak_day_and_night() -> None:
    found = costs(LOAD, SIZE, REGION, "x86_64", "gpu")
    assert environments(LOAD) == 2
    assert found["provisioned"] == pytest.approx(2 * 2 * 730 * 3600 * 0.01 + 8640 * 730 / 24 * (6 * 2 * 0.05 + 1.0))


def test_a_service_pays_by_the_hour_and_answers_together() -> None:
    # 0.1 requests a second, 1 s of prompt and 5 / 5 s of answer each: 0.2 tasks busy, 0.4 with half of it planned for.
    assert (tasks(LOAD, SIZE, 8640), tasks(LOAD, SIZE, 30 * 8640)) == (1, 12)
    found = costs(LOAD, SIZE, REGION, "x86_64", "gpu")
    assert found["fargate"] == pytest.approx(730 * (20 + 7 + 2 * 0.1 * 3600 * 50 * 250 / 1e9), rel=0.01)


def test_a_gpu_pays_by_the_hour() -> None:
    assert costs(LOAD, SIZE, REGION, "x86_64", "gpu")["gpu"] == 73_000


def test_beyond_the_break_even_it_stays_cheaper_and_just_below_it_is_not() -> None:
    at = break_even(LOAD, SIZE, REGION, "x86_64", "gpu", "gpu")
    assert at is not None
    dear, cheap = (costs(LOAD.at(at * factor), SIZE, REGION, "x86_64", "gpu") for factor in (0.98, 1.02))
    assert dear["gpu"] > dear["lambda"]
    assert cheap["gpu"] < cheap["lambda"]


def test_what_never_pays_has_no_break_even() -> None:
    dear = {**REGION, "fargate": {"x86_64": {"vcpu_hour": 1e9, "gb_hour": 1e9}}}
    assert break_even(LOAD, SIZE, dear, "x86_64", "gpu", "fargate") is None


def run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "prices.json"
    file.write_text(json.dumps({"regions": {"us-east-1": REGION}}))
    given = ["--tokens-per-second", "10", "--requests-per-day", "1000", "--gpu", "gpu", "--prices", str(file)]
    command = [sys.executable, "-m", "bench.scaling", *given, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_it_ends_in_one_json_line(tmp_path: Path) -> None:
    *table, last = run(tmp_path).stdout.splitlines()
    result = json.loads(last)
    assert result["usd_per_month"].keys() == {"lambda", "provisioned", "fargate", "gpu"}
    assert result["break_even_utilization"].keys() == {"provisioned", "fargate", "gpu"}
    assert [line for line in table if line.endswith("<- yours")]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--region", "mars-1"], "--region mars-1 is not in"),
        (["--gpu", "abacus"], "--gpu abacus is not in"),
        (["--prices", "/nowhere"], "/nowhere can't be read"),
        (["--peak", "0.5"], "0.5 is not from 1 to 1000"),
        (["--together", "x"], "invalid"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, arguments: list[str], named: str) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not PRICES.is_file(), reason="handler/prices.json isn't there")
def test_the_price_file_has_what_is_read() -> None:
    regions = json.loads(PRICES.read_text())["regions"]
    for region in regions.values():
        for architecture in ("x86_64", "arm64"):
            assert all(usd > 0 for usd in costs(LOAD, SIZE, region, architecture, "g6.xlarge").values())
