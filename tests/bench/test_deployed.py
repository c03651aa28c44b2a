"""The bench of deployed functions, against the local Lambda with the real adapter, and moto's Lambda API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest

from bench.deployed import parse, quantiles
from bench.deployed_calls import CHANGED, Failed, Report, new_environments, read_report, read_stream
from tests.conftest import ROOT
from tests.image.local.test_adapter import ADAPTER, stream_function

NEEDS_ADAPTER = pytest.mark.skipif(not ADAPTER.exists(), reason=f"NOT TESTED: {ADAPTER} is not there; see `make lwa`")
FEW = ("--requests", "3", "--tokens", "4", "--prompt-words", "10", "--region", "us-east-1")


def run(*arguments: str, code: int = 0, **environ: str) -> tuple[dict[str, Any], str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "FIREBRICK_API"))}
    command = [sys.executable, "-m", "bench.deployed", *FEW, *arguments]
    done = subprocess.run(command, cwd=ROOT, env={**clean, **environ}, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) if lines else {}, done.stderr


@NEEDS_ADAPTER
def test_a_function_is_measured_cold_and_warm_with_its_reports(demo_artefact: Path) -> None:
    with stream_function(demo_artefact, "--memory", "2048") as running:
        found, _ = run("--function", "firebrick", "--endpoint", running.api, "--model", "firebrick-demo", "--cold", "1")
        reports = len([line for line in running.lines if line.startswith("REPORT ")])
    assert (found["cold"]["requests"], found["warm"]["requests"], reports) == (1, 3, 4)
    assert found["cold_share"] == 0.25
    assert found["cold"]["init_ms"]["p50"] > 0
    assert 0 < found["warm"]["first_token_ms"]["p50"] <= found["warm"]["total_ms"]["p50"] <= found["end_to_end_p95_ms"]
    assert found["memory_mb"] == 2048
    assert found["max_memory_used_mb"] > 0
    assert found["cold_cost"]["usd_per_1000_by_report"] > found["warm_cost"]["usd_per_1000_by_report"] > 0
    assert found["cost"]["usd_per_1000_by_answers"] > 0


@NEEDS_ADAPTER
def test_a_url_is_called_signed_and_refuses_who_is_not(demo_artefact: Path) -> None:
    with stream_function(demo_artefact, "--url-auth", "AWS_IAM") as running:
        found, _ = run("--url", running.url)
        _, told = run("--url", running.url, code=2, AWS_ACCESS_KEY_ID="other", AWS_SECRET_ACCESS_KEY="other")
    assert found["warm"]["requests"] == 3
    assert found["warm"]["failed"] == 0
    assert found["memory_mb"] is None
    assert told.startswith("error: ")
    assert "status 403" in told
    assert told.count("\n") == 1


@NEEDS_ADAPTER
def test_a_url_with_a_key_is_called_with_it(demo_artefact: Path) -> None:
    with stream_function(demo_artefact, "--env", "FIREBRICK_API_KEY=secret") as running:
        found, _ = run("--url", running.url, FIREBRICK_API_KEY="secret")
        _, told = run("--url", running.url, code=2, FIREBRICK_API_KEY="wrong")
    assert found["warm"]["failed"] == 0
    assert "status 401" in told


def test_nobody_there_is_one_line() -> None:
    for arguments in (("--url", "http://127.0.0.1:9"), ("--function", "f", "--endpoint", "http://127.0.0.1:9")):
        _, told = run(*arguments, code=2)
        assert told.startswith("error: ")
        assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "one of the arguments"),
        (["--url", "ftp://x"], "is no URL"),
        (["--url", "http://x", "--cold", "1", "--cold-by", "configuration"], "needs --function"),
        (["--function", "f:live", "--cold-by", "configuration"], "without an alias"),
        (["--function", "f", "--requests", "0"], "no whole number"),
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments, {"AWS_REGION": "us-east-1"})
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_without_a_region_nothing_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--function", "f"], {})
    assert "AWS_REGION" in capsys.readouterr().err


def test_percentiles_are_values_that_were_measured() -> None:
    assert quantiles([float(n) for n in range(1, 101)]) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert quantiles([3.0]) == {"p50": 3.0, "p95": 3.0, "p99": 3.0}
    assert quantiles([]) == {}


REPORT = (
    "REPORT RequestId: 1-2\tDuration: 78.78 ms\tBilled Duration: 522 ms\tMemory Size: 3008 MB\tMax Memory Used: 103 MB"
)
METRICS = {"billedDurationMs": 522, "memorySizeMB": 3008, "maxMemoryUsedMB": 103}


@pytest.mark.parametrize(
    ("log", "init_ms"),
    [
        (f"START\n{REPORT}\t\n", None),
        (f"{REPORT}\tInit Duration: 442.73 ms\t\n", 442.73),
        (json.dumps({"type": "platform.report", "record": {"metrics": METRICS}}), None),
        (json.dumps({"type": "platform.report", "record": {"metrics": {**METRICS, "initDurationMs": 442.73}}}), 442.73),
    ],
)
def test_a_report_is_read_in_both_of_lambdas_forms(log: str, init_ms: float | None) -> None:
    assert read_report(log) == Report(522, 3008, 103, init_ms)


@pytest.mark.parametrize("log", ["", "START", '{"type": "platform.report"}', '"platform.report"'])
def test_a_log_without_a_report_has_none(log: str) -> None:
    assert read_report(log) is None


def test_an_error_in_the_stream_is_no_answer() -> None:
    with pytest.raises(ValueError, match="too late"):
        read_stream([b'data: {"error": {"message": "too late"}}'], 0.0)


def test_a_configuration_is_changed_and_put_back(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    iam = boto3.client("iam", endpoint_url=moto_url, region_name="us-east-1")
    lambdas = boto3.client("lambda", endpoint_url=moto_url, region_name="us-east-1")
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = iam.create_role(RoleName="bench", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    code = {"ImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/x@sha256:" + "0" * 64}
    given = {"Role": role, "Code": code, "PackageType": "Image", "Environment": {"Variables": {"A": "1"}}}
    lambdas.create_function(FunctionName="benched", **given)
    args = parse(["--function", "benched", "--endpoint", moto_url, "--region", "us-east-1"], {})

    def variables() -> Mapping[str, str]:
        found = lambdas.get_function_configuration(FunctionName="benched")
        given: Mapping[str, str] = found["Environment"]["Variables"]
        return given

    def interrupted() -> None:
        with new_environments(args):
            assert set(variables()) == {"A", CHANGED}
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert variables() == {"A": "1"}
    lambdas.delete_function(FunctionName="benched")
    with pytest.raises(Failed, match="benched can't be changed"), new_environments(args):
        pass
    iam.delete_role(RoleName="bench")
    iam.close()
    lambdas.close()
