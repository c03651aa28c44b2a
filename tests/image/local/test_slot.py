"""The rules for init, with their time shortened."""

from __future__ import annotations

import asyncio
import io
import shlex
import sys
from pathlib import Path

import pytest

from image.local import slot
from image.local.environment import Environment
from image.local.invocation import Call, Invocation
from image.local.logs import Log
from image.local.network import host_network
from image.local.processes import Processes
from image.local.settings import Settings
from image.local.slot import Slot

# A shell's first act: a Python that is slow to start must not be killed before it has left its mark.
SLOW_ONCE = """mkdir {marker} 2>/dev/null && exec sleep 600
exec {python} -c 'from tests.image.local.streamer import main; main()'"""
ALWAYS_SLOW = "exec sleep 600"


async def invoke(script: str, log: Log, timeout_s: float) -> Invocation:
    settings = Settings(command=("sh", "-c", script), timeout_s=timeout_s)

    def make(version: str, log: Log) -> Environment:
        return Environment(settings, Processes(settings.command, ()), host_network(), "/", version, log)

    made = Slot(settings, "$LATEST", make, log)
    invocation = Invocation(Call(b'{"chunks": ["a", "b"]}'))
    await made.serve(invocation)
    await made.end(None)
    return invocation


def test_an_init_that_takes_too_long_is_run_again_within_the_invoke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot, "INIT_S", 1.0)
    written = io.StringIO()
    script = SLOW_ONCE.format(marker=shlex.quote(str(tmp_path / "slow")), python=shlex.quote(sys.executable))
    invocation = asyncio.run(invoke(script, Log(written), 60.0))
    lines = written.getvalue().splitlines()
    assert invocation.error is None
    assert "Phase: init\tStatus: timeout" in lines[0]
    assert lines[1].startswith("START")
    assert "Init Duration" not in lines[-1]


def test_an_init_that_takes_longer_than_the_function_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot, "INIT_S", 0.2)
    written = io.StringIO()
    invocation = asyncio.run(invoke(ALWAYS_SLOW, Log(written), 0.3))
    assert invocation.error is not None
    assert invocation.error.message == "Task timed out after 0.30 seconds"
    assert "Phase: invoke\tStatus: timeout" in written.getvalue()
    assert written.getvalue().splitlines()[-1].endswith("Status: timeout")
