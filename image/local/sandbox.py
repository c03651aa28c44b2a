"""What an environment's processes run in: plain processes or a container, behind one interface."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

RUNTIME = "runtime"  # the name under which the runtime's end is reported; extensions have their file's
PF_EXITING = 4  # a flag in /proc/PID/stat, set before the files are closed
KILL_S = 5.0  # in which the kernel ends what was killed

Exited = Callable[[str, int, bool], None]  # name, return code as subprocess has it, whether memory was used up


class Sandbox(Protocol):
    """A group of processes: extensions first, then the runtime."""

    async def create(self, variables: Mapping[str, str], log: Callable[[str], None], exited: Exited) -> list[str]:
        """Make it; return the names of its extensions. Nothing of the function's runs yet.

        Raises:
            FunctionError: It can't be made from this image or command.
        """

    def launch_extensions(self) -> None:
        """Start every extension."""

    def launch_runtime(self) -> None:
        """Start the runtime."""

    def freeze(self) -> None:
        """Stop every process where it is."""

    def thaw(self) -> None:
        """Let them go on."""

    def terminate_runtime(self) -> None:
        """Ask the runtime to end."""

    async def runtime_gone(self, timeout_s: float) -> bool:
        """Wait for the runtime's end; return whether it came."""

    async def kill(self) -> None:
        """End everything that is left, at once."""

    async def gone(self, timeout_s: float) -> None:
        """Wait until nothing is left, but not longer."""

    def pids(self) -> list[int]:
        """Return the process ids, as this machine has them."""

    def leaders(self) -> list[int]:
        """Return those of them that were launched: the runtime's and the extensions'."""


def peak_bytes(pids: list[int]) -> int:
    """Return the most memory that these processes had resident, each at its own peak, files included."""
    return sum(_high_water(pid) for pid in pids)


def _high_water(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # It has ended.
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def ending(pids: list[int]) -> bool:
    """Whether one of these processes has begun to end: what it had open may be closed before it is gone."""
    return any(_ending(pid) for pid in pids)


def _ending(pid: int) -> bool:
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    except OSError:
        return True
    return state in "ZX" or bool(int(fields[5]) & PF_EXITING)


def watch_exit(process: subprocess.Popen[bytes], exited: Callable[[int], None]) -> None:
    """Call `exited` with the return code as soon as the process has ended."""
    descriptor = os.pidfd_open(process.pid)
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        exited(process.wait())

    loop.add_reader(descriptor, ended)


async def forward_lines(stream: IO[bytes], line: Callable[[str], None]) -> None:
    """Hand on what a process prints, line by line, until nobody can print any more."""
    reader = asyncio.StreamReader(limit=2**20)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), stream
    )
    try:
        rest = b""
        while data := await reader.read(65_536):
            *lines, rest = (rest + data).split(b"\n")
            for whole in lines:
                line(whole.decode(errors="replace"))
        if rest:
            line(rest.decode(errors="replace"))
    finally:
        transport.close()


def send(pid: int, number: signal.Signals, group: bool = False) -> None:
    """Send a signal to a process or its group, unless it has ended."""
    with suppress(ProcessLookupError):
        (os.killpg if group else os.kill)(pid, number)
