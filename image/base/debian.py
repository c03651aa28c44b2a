"""A base image out of Debian's packages: Python and certificates, nothing that builds or downloads."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from image.base.names import BASE, BUILDER
from image.engines import EPOCH, Build, Engine
from image.errors import CommandFailed, NotRoot
from image.tools import require

SUITE = "bookworm"
RUNTIME = ("python3", "ca-certificates", "libstdc++6")  # numpy's wheel brings no libstdc++
PACKAGES = {BASE: RUNTIME, BUILDER: (*RUNTIME, "python3-pip")}
EXCLUDED = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*")
# What differs from machine to machine or from day to day, what names the mirror, and what only installing needs.
REMOVED = (
    *("etc/apt/sources.list*", "etc/hostname", "etc/resolv.conf", "etc/machine-id", "etc/*-"),
    *("var/lib/dpkg/*-old", "var/cache/debconf/*", "var/cache/ldconfig/*", "var/log/*"),
    *("root/.*rc", "usr/share/bash-completion", "run/*"),
)
ENVIRONMENT = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8"
DOCKERFILE = f'FROM scratch\nADD root.tar /\nENV {ENVIRONMENT}\nCMD ["python3"]\n'


def make_debian(engine: Engine, name: str) -> None:
    """Make one of the images that `PACKAGES` describes.

    Raises:
        ToolMissing: mmdebstrap isn't installed.
        NotRoot: mmdebstrap needs root.
        CommandFailed: packages can't be had, or the image can't be built.
    """
    require("mmdebstrap", "makes the base image", "apt-get install mmdebstrap")
    if os.geteuid():
        raise NotRoot("mmdebstrap")
    with tempfile.TemporaryDirectory() as directory:
        context = Path(directory)
        command = mmdebstrap_command(PACKAGES[name], context / "root.tar")
        done = subprocess.run(command, env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)}, cwd="/")
        if done.returncode:
            raise CommandFailed("mmdebstrap", done.returncode)
        (context / "Dockerfile").write_text(DOCKERFILE)
        engine.build(Build(context, None, name))


def mmdebstrap_command(packages: tuple[str, ...], out: Path) -> list[str]:
    """The command line that writes the root file system as a tar archive."""
    removed = " ".join(f'"$1"/{pattern}' for pattern in REMOVED)
    return [
        *("mmdebstrap", "--quiet", "--variant=essential", f"--include={','.join(packages)}"),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        f"--customize-hook=rm -rf {removed}",
        *(SUITE, str(out)),  # without a mirror it is Debian's own, with the updates and security fixes of the suite
    ]
