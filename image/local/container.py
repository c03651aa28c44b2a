"""A container with Lambda's restrictions, run by podman; bootstrap.sh inside it starts what there is to start."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from image.local.cgroup import Cgroup
from image.local.errors import EntrypointInvalid
from image.local.podman import Image, podman, run_command
from image.local.sandbox import KILL_S, RUNTIME, Exited, forward_lines, send, watch_exit
from image.local.settings import Settings

CREATE_S = 60.0  # in which podman makes a container


class Container:
    """One environment's container.

    Args:
        settings: The function.
        image: What its image runs.
        network: A network namespace's file; None for the host's.
    """

    def __init__(self, settings: Settings, image: Image, network: str | None) -> None:
        self._settings = settings
        self._image = image
        self._network = network
        self._name = f"firebrick-local-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._names: list[str] = []
        self._listed = asyncio.Event()
        self._runtime_gone = asyncio.Event()
        self._gone = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._pid: int | None = None
        self._cgroup: Cgroup | None = None
        self._process: subprocess.Popen[bytes] | None = None

    async def create(self, variables: Mapping[str, str], log: Callable[[str], None], exited: Exited) -> list[str]:
        """Start the container; return the names of the extensions in it.

        Raises:
            EntrypointInvalid: podman can't run it; its own message is in the log.
        """
        self._exited = exited
        with tempfile.TemporaryDirectory(prefix="firebrick-local-") as directory:
            pid_file, reports = Path(directory) / "pid", Path(directory) / "reports"
            os.mkfifo(reports)
            command = run_command(self._settings, self._image, variables, self._network, self._name, pid_file)
            self._run(command, reports, log)
            waiting = [asyncio.ensure_future(event.wait()) for event in (self._listed, self._gone)]
            await asyncio.wait(waiting, timeout=CREATE_S, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
            if not self._listed.is_set():
                raise EntrypointInvalid("the container cannot be started; podman's message is in the log")
            self._pid = int(pid_file.read_text())
        self._cgroup = Cgroup(self._pid)
        return self._names

    def _run(self, command: list[str], reports: Path, log: Callable[[str], None]) -> None:
        read_end = os.open(reports, os.O_RDONLY | os.O_NONBLOCK)
        # podman passes on descriptor 3 and no other.
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", 'exec "$@" 3>"$0"', str(reports), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(forward_lines(self._process.stdout, log)),
            loop.create_task(forward_lines(os.fdopen(read_end, "rb", 0), self._reported)),
        ]
        watch_exit(self._process, self._container_ended)

    def _reported(self, line: str) -> None:
        kind, *words = line.split(" ")
        if kind == "extension":
            self._names.append(" ".join(words))
        elif kind == "listed":
            self._listed.set()
        elif kind == "exit":
            *name, code = words
            if name == [RUNTIME]:
                self._runtime_gone.set()
            self._exited(" ".join(name), int(code), self._out_of_memory(int(code)))

    def _out_of_memory(self, code: int) -> bool:
        killed = code == 128 + signal.SIGKILL
        return killed and self._cgroup is not None and self._cgroup.out_of_memory_kills() > 0

    def _container_ended(self, code: int) -> None:
        self._gone.set()
        self._runtime_gone.set()
        self._exited(RUNTIME, code, False)

    def launch_extensions(self) -> None:
        """Let bootstrap.sh start the extensions."""
        self._tell()

    def launch_runtime(self) -> None:
        """Let bootstrap.sh start the entry point."""
        self._tell()

    def _tell(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        except OSError:  # It has ended, which is reported elsewhere.
            pass

    def freeze(self) -> None:
        """Freeze the container's control group."""
        if self._cgroup is not None and not self._gone.is_set():
            self._cgroup.freeze()

    def thaw(self) -> None:
        """Thaw it."""
        if self._cgroup is not None:
            self._cgroup.thaw()

    def terminate_runtime(self) -> None:
        """Send SIGTERM to bootstrap.sh, which passes it on."""
        self._send(signal.SIGTERM)

    async def runtime_gone(self, timeout_s: float) -> bool:
        """Wait for the runtime's end; return whether it came."""
        return await _happens(self._runtime_gone, timeout_s)

    async def kill(self) -> None:
        """Kill the container's first process, and all others with it."""
        self.thaw()
        self._send(signal.SIGKILL)
        if self._process is not None and not await _happens(self._gone, KILL_S):
            await asyncio.to_thread(subprocess.run, podman("rm", "--force", self._name), capture_output=True)
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=KILL_S)

    async def gone(self, timeout_s: float) -> None:
        """Wait until nothing is left, but not longer."""
        await _happens(self._gone, timeout_s)

    def pids(self) -> list[int]:
        """Return every process in the container."""
        return self._cgroup.pids() if self._cgroup is not None else []

    def leaders(self) -> list[int]:
        """Return the children of bootstrap.sh."""
        if self._pid is None or self._gone.is_set():
            return []
        try:
            return [int(pid) for pid in Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split()]
        except OSError:
            return [self._pid]

    def _send(self, number: signal.Signals) -> None:
        if self._pid is None or self._gone.is_set():
            return
        try:
            send(self._pid, number)
        except PermissionError:  # A rootless container's user is another than ours.
            subprocess.run(podman("kill", "--signal", number.name, self._name), capture_output=True)


async def _happens(event: asyncio.Event, timeout_s: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), max(0.0, timeout_s))
    except TimeoutError:
        return False
    return True
