"""`--snapstart`: init, checkpoint, restore, hooks; with AWS's runtime client, the worker, and the real adapter."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from image.local.errors import OptionMisplaced
from image.local.settings import read_settings
from tests.image.local.lambda_process import STREAMER, LocalLambda, local_lambda
from tests.image.local.test_adapter import ADAPTER, stream_function

SNAPSTART = ("--snapstart", "--alias", "live")
HOOKED = f"{sys.executable} -m awslambdaric tests.image.local.snapshots.handle"
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": 4}


def events(running: LocalLambda) -> list[str]:
    """The kinds of lines that there are, in their order; JSON by what it tells of."""
    told = (json.loads(line) if line.startswith("{") else line for line in running.lines)
    return [line.split()[0] if isinstance(line, str) else line.get("event") or line.get("message") for line in told]


def invoke_live(running: LocalLambda, event: object) -> tuple[Any, str | None]:
    return running.invoke(event, Qualifier="live")


def test_hooks_run_around_the_checkpoint_and_the_invoke_comes_after() -> None:
    with local_lambda("--command", HOOKED, *SNAPSTART) as running:
        answer, error = invoke_live(running, {})
        report = running.report()
        invoke_live(running, {})
        again = running.report(2)
    assert (answer, error) == (["snap-start", "before", "after"], None)
    order = [line for line in events(running) if line in ("before", "INIT_REPORT", "after", "RESTORE_REPORT", "START")]
    assert order == ["before", "INIT_REPORT", "after", "RESTORE_REPORT", "START", "START"]
    assert "\tRestore Duration: " in report
    assert "\tBilled Restore Duration: " in report
    assert "Init Duration" not in report
    assert "Restore Duration" not in again


def test_the_unpublished_version_has_no_snapshot() -> None:
    with local_lambda("--command", HOOKED, *SNAPSTART) as running:
        assert running.invoke({}) == (["on-demand"], None)
        assert "\tInit Duration: " in running.report()


def test_a_runtime_that_asks_for_no_restore_is_restored_all_the_same() -> None:
    with local_lambda("--command", STREAMER, *SNAPSTART) as running:
        assert invoke_live(running, {"chunks": ['"a', 'b"']}) == ("ab", None)
        assert "\tRestore Duration: " in running.report()


@pytest.mark.parametrize(("hook", "line"), [("before", "INIT_REPORT"), ("after", "RESTORE_REPORT")])
def test_a_hook_that_fails_fails_the_invoke(hook: str, line: str) -> None:
    with local_lambda("--command", HOOKED, *SNAPSTART, "--env", f"FAILING_HOOK={hook}") as running:
        answer, error = invoke_live(running, {})
        running.report()
    assert error == "Unhandled"
    assert (answer["errorType"], answer["errorMessage"]) == ("RuntimeError", f"{hook} failed")
    failed = [
        one for one in running.lines if one.startswith(("INIT_REPORT", "RESTORE_REPORT")) and "Status: error" in one
    ]
    assert failed
    assert all(one.startswith(line) for one in failed)


def test_the_worker_says_what_its_restore_took(demo_artefact: Path) -> None:
    command = f"{sys.executable} -m awslambdaric handler.worker.function.handle"
    with local_lambda("--command", command, *SNAPSTART, "--env", f"FIREBRICK_MODEL_DIR={demo_artefact}") as running:
        first, second = (invoke_live(running, CHAT)[0] for _ in range(2))
        running.report(2)
    assert "restore_ms" in first["timings"]
    assert {"restore_ms", "init_ms"}.isdisjoint(second["timings"])
    assert first["text"] != "" != second["text"]
    metrics = [json.loads(line) for line in running.lines if '"_aws"' in line]
    assert ["RestoreTime" in line for line in metrics] == [True, False]
    assert not any("ReadyTime" in line for line in metrics)
    seen = events(running)
    assert seen.index("checkpoint") < seen.index("INIT_REPORT") < seen.index("restored") < seen.index("START")


@pytest.mark.skipif(not ADAPTER.exists(), reason=f"NOT TESTED: {ADAPTER} is not there; `make lwa` builds it")
def test_behind_an_adapter_without_hooks_the_first_request_finds_out(demo_artefact: Path) -> None:
    with stream_function(demo_artefact, *SNAPSTART) as running:
        answers = [httpx.post(f"{running.url}v1/chat/completions", json=CHAT, timeout=60) for _ in range(2)]
        running.report(2)
    assert [answer.status_code for answer in answers] == [200, 200]
    seen = events(running)
    assert seen.index("checkpoint") < seen.index("INIT_REPORT") < seen.index("START") < seen.index("restored")
    assert seen.count("restored") == 1
    assert len({answer.json()["id"] for answer in answers}) == 2


def test_a_restore_without_a_snapshot_is_refused() -> None:
    with local_lambda("--command", HOOKED, "--env", "ASK_FOR_RESTORE=1") as running:
        assert running.invoke({}) == ([403, "InvalidStateTransition"], None)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "--version or --alias"),
        (("--version", "2", "--ephemeral-storage", "1024"), "--ephemeral-storage 512"),
    ],
)
def test_what_lambda_makes_no_snapshots_of(arguments: tuple[str, ...], reason: str) -> None:
    with pytest.raises(OptionMisplaced, match=reason):
        read_settings(["--command", "true", "--snapstart", *arguments], {})
