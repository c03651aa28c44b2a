"""One start: the entry point in its root, until it has answered."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.cold_start.disk import Mounted, Unavailable, die_with_parent
from bench.cold_start.extents import Layout
from bench.cold_start.fetches import Fetch, read_log
from bench.cold_start.prompts import Prompt
from bench.cold_start.roots import Program
from bench.server import complete


@dataclass(frozen=True)
class Start:
    """One start.

    Attributes:
        exec_ns: when the program was started, by the monotonic clock.
        ms: milestone → milliseconds since then, in their order.
        fetches: all that the disk fetched.
        server_s: processor time of the disk, up to ready and up to the first token.
        processor_s: processor time of the program, up to the first token.
        ready: what it said of itself.
    """

    exec_ns: int
    ms: Mapping[str, float]
    fetches: Sequence[Fetch]
    server_s: tuple[float, float]
    processor_s: float
    ready: Mapping[str, Any] = field(default_factory=dict)


def measure(program: Program, mounted: Mounted, layout: Layout, prompt: Prompt) -> Start:
    """Start the program in a root, ask for a token, and end it.

    Raises:
        Unavailable: it doesn't start; its own message is on stderr.
    """

    begun = time.monotonic_ns()
    process = spawn(program, mounted, prompt.environ)
    try:
        ready = read_ready(process, program)
        ready_ns = time.monotonic_ns()
        server_ready_s = mounted.processor_s()
        complete(ready["url"], ready["model"], list(prompt.ids), 1)
        token_ns = time.monotonic_ns()
        server_s = (server_ready_s, mounted.processor_s())
        processor_s = _processor_s(process.pid)
    finally:
        end(process)
    fetches = read_log(mounted.log) if mounted.log else []
    ms = milestones(begun, ready_ns, token_ns, ready, fetches, layout, len(prompt.ids))
    return Start(begun, ms, fetches, server_s, processor_s, ready)


def spawn(program: Program, mounted: Mounted, environ: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start the program in its root, on a free port."""

    def enter() -> None:
        die_with_parent()
        os.chroot(mounted.root)
        os.chdir(program.directory)

    environ = {**program.environ, **environ, "AWS_LWA_PORT": "0"}
    return subprocess.Popen(program.command, env=environ, preexec_fn=enter, stdout=subprocess.PIPE, text=True)


def read_ready(process: subprocess.Popen[str], program: Program) -> Mapping[str, Any]:
    """Wait until a server is ready; gives what it says then.

    Raises:
        Unavailable: it ends instead; its own message is on stderr.
    """
    assert process.stdout is not None
    while line := process.stdout.readline():
        told: Mapping[str, Any] = json.loads(line)
        if told["event"] == "ready":
            return told
    raise Unavailable(f"{' '.join(program.command)} ended with exit code {process.wait()}")


def end(process: subprocess.Popen[str]) -> None:
    """Stop a server, and read its log to the end."""
    process.send_signal(signal.SIGTERM)
    process.communicate()


def milestones(
    begun: int,
    ready_ns: int,
    token_ns: int,
    ready: Mapping[str, Any],
    fetches: Sequence[Fetch],
    layout: Layout,
    tokens: int,
) -> dict[str, float]:
    """Milliseconds from exec to each step.

    Args:
        begun: when the program was started, nanoseconds.
        ready_ns: when it said that it was ready.
        token_ns: when the first token had come.
        ready: what it said.
        fetches: of the disk.
        layout: of the image.
        tokens: of the prompt.
    """
    python_ns = ready_ns - ready["ready_ms"] * 1e6  # its own clock begins when its first line runs
    ended = {name: (python_ns - begun) / 1e6 + ms for name, ms in ready.get("ended", {}).items()}
    weights = [fetch for fetch in fetches if layout.kind_at(fetch.offset) == "weights"]
    found = {
        "first line of Python": (python_ns - begun) / 1e6,
        "engine imported": ended.get("import_engine"),
        "all imported": ended.get("import_rest"),
        "first chunk of weights": (weights[0].end - begun) / 1e6 if weights else None,
        "session": ended.get("session"),
        "ready": (ready_ns - begun) / 1e6,
        "last chunk of weights": (max(fetch.end for fetch in weights) - begun) / 1e6 if weights else None,
        f"first token of {tokens}": (token_ns - begun) / 1e6,
    }
    return {name: round(ms, 1) for name, ms in found.items() if ms is not None}


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # children that have ended included
