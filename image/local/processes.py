"""Plain processes: no limits, quick to start."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from image.local.errors import EntrypointInvalid
from image.local.sandbox import KILL_S, RUNTIME, Exited, forward_lines, send, watch_exit
from image.local.variables import process_variables


class Processes:
    """A command and its extensions, each leading a session of its own.

    Args:
        command: The runtime.
        extensions: Executables.
        prefix: What every command line begins with, such as what enters a network namespace.
    """

    def __init__(self, command: tuple[str, ...], extensions: tuple[Path, ...], prefix: tuple[str, ...] = ()) -> None:
        self._command = command
        self._extensions = extensions
        self._prefix = prefix
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._runtime_gone = asyncio.Event()
        self._changed = asyncio.Event()

    async def create(self, variables: Mapping[str, str], log: Callable[[str], None], exited: Exited) -> list[str]:
        """Remember what the processes are started with; return the extensions' names."""
        self._variables = process_variables(os.environ, variables)
        self._log = log
        self._exited = exited
        return [path.name for path in self._extensions]

    def launch_extensions(self) -> None:
        """Start every extension."""
        for path in self._extensions:
            self._launch(path.name, (str(path),))

    def launch_runtime(self) -> None:
        """Start the command."""
        self._launch(RUNTIME, self._command)

    def _launch(self, name: str, command: tuple[str, ...]) -> None:
        try:
            process = subprocess.Popen(
                [*self._prefix, *command],
                env=self._variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise EntrypointInvalid(f"{command[0]}: {error.strerror}") from error
        self._running[name] = process
        assert process.stdout is not None
        task = asyncio.get_running_loop().create_task(forward_lines(process.stdout, self._log))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        watch_exit(process, lambda code: self._ended(name, code))

    def _ended(self, name: str, code: int) -> None:
        # Its children share the session's group and would otherwise outlive it.
        send(self._running.pop(name).pid, signal.SIGKILL, group=True)
        if name == RUNTIME:
            self._runtime_gone.set()
        self._changed.set()
        self._exited(name, code, False)

    def freeze(self) -> None:
        """Stop every process group."""
        self._send_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._send_all(signal.SIGCONT)

    def terminate_runtime(self) -> None:
        """Send SIGTERM to the command."""
        if process := self._running.get(RUNTIME):
            send(process.pid, signal.SIGTERM)

    async def runtime_gone(self, timeout_s: float) -> bool:
        """Wait for the runtime's end; return whether it came."""
        if RUNTIME not in self._running:
            return True
        try:
            await asyncio.wait_for(self._runtime_gone.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def kill(self) -> None:
        """Kill every process group and wait until they are gone."""
        self._send_all(signal.SIGKILL)
        await self.gone(KILL_S)
        if self._tasks:  # Last lines may still be in the pipes; a grandchild may hold one open for ever.
            await asyncio.wait(self._tasks, timeout=0.2)
        for task in list(self._tasks):
            task.cancel()

    async def gone(self, timeout_s: float) -> None:
        """Wait until nothing is left, but not longer."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while self._running and loop.time() < deadline:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), deadline - loop.time())
            except TimeoutError:
                return

    def pids(self) -> list[int]:
        """Return every process of the sessions."""
        sessions = {process.pid for process in self._running.values()}
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _session(pid) in sessions]

    def leaders(self) -> list[int]:
        """Return the command's and the extensions' own."""
        return [process.pid for process in self._running.values()]

    def _send_all(self, number: signal.Signals) -> None:
        for process in self._running.values():
            send(process.pid, number, group=True)


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:  # It has ended.
        return -1
