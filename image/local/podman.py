"""podman's command lines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from image.local.errors import ImageUnusable, ProgramMissing
from image.local.limits import LEAST_VISIBLE_CPUS
from image.local.settings import Settings

USER = "993:990"  # as foreign to the image as Lambda's
FILES, PROCESSES = 1024, 1024
BOOTSTRAP = Path(__file__).parent / "bootstrap.sh"
INSIDE = "/var/rapid/bootstrap"
ADDED_BY_PODMAN = ("HOME", "HOSTNAME", "TERM", "container")


@dataclass(frozen=True)
class Image:
    """What an image runs.

    Attributes:
        command: Entry point and its arguments.
        variables: Names of the environment variables that it sets itself.
    """

    command: tuple[str, ...]
    variables: frozenset[str]


def podman(*arguments: str) -> list[str]:
    """Return a command line of podman, with runc where that is there."""
    root = ["--cgroup-manager", "cgroupfs"] if os.geteuid() == 0 else []
    runtime = ["--runtime", "runc"] if shutil.which("runc") else []
    return ["podman", *root, *runtime, *arguments]


def restrictions(storage_mb: int = Settings.storage_mb) -> Sequence[str]:
    """Return podman's options for what Lambda doesn't let a function do; `/tmp` has `storage_mb`."""
    return (
        *("--read-only", "--read-only-tmpfs=false", "--tmpfs", f"/tmp:size={storage_mb}m,mode=1777"),
        *("--user", USER, "--cap-drop", "all", "--security-opt", "no-new-privileges"),
        *("--ipc", "none", "--security-opt", "mask=/sys/devices/system/cpu"),
        *("--ulimit", f"nofile={FILES}:{FILES}", "--ulimit", f"nproc={PROCESSES}:{PROCESSES}"),
    )


def inspect_image(name: str) -> Image:
    """Read what an image runs.

    Raises:
        ProgramMissing: There is no podman.
        ImageUnusable: There is no such image, or it runs nothing.
    """
    if shutil.which("podman") is None:
        raise ProgramMissing("podman", "install it, or use --command for plain processes")
    asked = subprocess.run(
        podman("image", "inspect", "--format", "{{json .Config}}", name), capture_output=True, text=True
    )
    if asked.returncode != 0:
        raise ImageUnusable(name, (asked.stderr.strip().splitlines() or ["podman gave no reason"])[-1])
    config = json.loads(asked.stdout)
    command = (*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ()))
    if not command:
        raise ImageUnusable(name, "it has neither ENTRYPOINT nor CMD")
    return Image(command, frozenset(text.split("=")[0] for text in config.get("Env") or ()))


def run_command(
    settings: Settings, image: Image, variables: Mapping[str, str], network: str | None, name: str, pid_file: Path
) -> list[str]:
    """Return the command line that runs an environment's container, with Lambda's restrictions.

    Args:
        settings: The function.
        image: What it runs.
        variables: The environment.
        network: A network namespace's file; None for the host's.
        name: Of the container.
        pid_file: Where podman writes the id of its first process.
    """
    memory = f"{settings.memory_mb}m"
    added = [variable for variable in ADDED_BY_PODMAN if variable not in image.variables]
    options = [
        *("--name", name, "--rm", "--interactive", "--preserve-fds", "1", "--pidfile", str(pid_file)),
        *("--pull", "never", "--log-driver", "none", "--http-proxy=false"),
        *("--network", f"ns:{network}" if network else "host"),
        *restrictions(settings.storage_mb),
        *("--memory", memory, "--memory-swap", memory, "--cpus", f"{settings.vcpus:.3f}"),
        *_visible_cpus(settings),
        *("--volume", f"{BOOTSTRAP}:{INSIDE}:ro"),
        *(part for key, value in variables.items() for part in ("--env", f"{key}={value}")),
        *("--entrypoint", json.dumps(["/bin/sh", INSIDE])),
    ]
    assert settings.image is not None
    return podman("run", *options, settings.image, ",".join(added) or "_", *image.command)


def _visible_cpus(settings: Settings) -> Sequence[str]:
    """Hide processors that the function wouldn't have; its quota says how much of the others it gets."""
    here = sorted(os.sched_getaffinity(0))
    visible = max(LEAST_VISIBLE_CPUS, -int(-settings.vcpus // 1))
    if settings.cpus is not None:
        visible = max(1, -int(-settings.cpus // 1))
    return ["--cpuset-cpus", ",".join(map(str, here[:visible]))] if visible < len(here) else []
