"""Mounting: the lazy file, a loop device over it, a file system on that; in a mount namespace of our own."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.cold_start.profiles import Profile

SOURCE = Path(__file__).parent / "lazydisk"
CLONE_NEWNS = 0x20000
PR_SET_PDEATHSIG = 1
TOOLS = {
    "losetup": "util-linux",
    "mount": "util-linux",
    "umount": "util-linux",
    "mkfs.erofs": "erofs-utils",
    "mke2fs": "e2fsprogs",
    "debugfs": "e2fsprogs",
}
# As Lambda has it, and a denser one; what is put on a disk is never written to.
FILE_SYSTEMS = {"ext4": "ro,noload", "erofs": "ro"}
TICKS = os.sysconf("SC_CLK_TCK")


class Unavailable(Exception):
    """This machine can't do it; the message says why."""


@dataclass(frozen=True)
class Mounted:
    """A disk that is there.

    Attributes:
        root: where its files are.
        log: of its fetches; None where nothing is fetched.
        process: that plays it; None where there is none.
    """

    root: Path
    log: Path | None = None
    process: subprocess.Popen[str] | None = None

    def processor_s(self) -> float:
        """Processor time that playing the disk has taken up to now, in seconds."""
        if self.process is None:
            return 0.0
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def forget(self) -> None:
        """Let a lazy disk fetch all of its chunks anew; the page cache is the caller's affair."""
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("forget\n")
        self.process.stdin.flush()
        self.process.stdout.readline()


def obstacle() -> str | None:
    """Why no disk can be played here; None if one can."""
    if os.geteuid():
        return "mounting needs root: run it with sudo"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "there is no /dev/fuse"
    if not os.access("/dev/loop-control", os.R_OK | os.W_OK):
        return "there are no loop devices (/dev/loop-control)"
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            return f"{tool} isn't there: on Debian, apt-get install {package}"
    known = Path("/proc/filesystems").read_text().split()
    for name in FILE_SYSTEMS:
        if name not in known:
            return f"this kernel has no {name}"
    if shutil.which("cargo") is None:
        return "cargo isn't there to compile the lazy disk; https://rustup.rs has it"
    return None


def own_namespace() -> None:
    """Mount where nobody else sees it; what is mounted goes with the last process that sees it.

    Raises:
        Unavailable: it isn't allowed.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise Unavailable(f"no mount namespace can be had: {os.strerror(ctypes.get_errno())}")
    call("mount", "--make-rprivate", "/")


def compile_disk(target: Path) -> Path:
    """Compile `lazydisk`; gives the program.

    Raises:
        Unavailable: it can't be compiled.
    """
    call("cargo", "build", "--quiet", "--release", "--locked", "--target-dir", str(target), cwd=SOURCE)
    return target / "release" / "lazydisk"


@contextmanager
def lazy(program: Path, image: Path, profile: Profile, work: Path) -> Iterator[Mounted]:
    """Mount an image on a disk of this kind, with nothing fetched yet."""
    lazy_file, log = work / "disk", work / "fetches"
    lazy_file.touch()
    log.unlink(missing_ok=True)
    command = [str(program), str(image), str(lazy_file), str(log), *profile.options()]
    # A group of its own: Ctrl-C mustn't take the disk away before what is mounted on it.
    with (
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
            preexec_fn=die_with_parent,
        ) as process,
        ExitStack() as stack,
    ):
        assert process.stdout is not None
        if process.stdout.readline().strip() != "mounted":
            raise Unavailable("the lazy disk can't be mounted; it has said why")
        stack.callback(_unmount, lazy_file)
        root = stack.enter_context(_mounted(lazy_file, image.suffix[1:], work / "root"))
        yield Mounted(root, log, process)


@contextmanager
def plain(image: Path, work: Path) -> Iterator[Mounted]:
    """Mount an image as it is; its suffix says the file system."""
    with _mounted(image, image.suffix[1:], work / "root") as root:
        yield Mounted(root)


@contextmanager
def _mounted(file: Path, kind: str, root: Path) -> Iterator[Path]:
    root.mkdir(exist_ok=True)
    device = call("losetup", "--show", "--find", "--read-only", "--direct-io=on", str(file)).strip()
    try:
        call("mount", "-t", kind, "-o", FILE_SYSTEMS[kind], device, str(root))
    finally:
        call("losetup", "--detach", device)  # as soon as nothing is mounted on it any more
    try:
        yield root
    finally:
        _unmount(root)


@contextmanager
def container(root: Path) -> Iterator[None]:
    """Give a root what every container has: /proc, /dev, a /tmp that can be written."""
    with ExitStack() as stack:
        for kind, where in ("proc", "proc"), ("tmpfs", "tmp"):
            call("mount", "-t", kind, kind, str(root / where))
            stack.callback(_unmount, root / where)
        call("mount", "--bind", "/dev", str(root / "dev"))
        stack.callback(_unmount, root / "dev")
        yield


def _unmount(path: Path) -> None:
    # Lazily, so that a process which is still ending doesn't matter.
    subprocess.run(["umount", "--lazy", str(path)], check=False)


def die_with_parent() -> None:
    """Let this process end with its parent, however that ends; for `preexec_fn`."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def call(*command: str, cwd: Path | None = None) -> str:
    """Run a command; gives what it prints.

    Raises:
        Unavailable: it fails, with its own words.
    """
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"{command[0]} fails: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
