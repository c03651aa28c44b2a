"""The root file system that a start gets: the image's own, or one put together from this machine's Python."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from bench.cold_start import ext4
from bench.cold_start.disk import Unavailable, call

REPOSITORY = Path(__file__).parent.parent.parent
MODEL = "opt/firebrick/model"
MOUNT_POINTS = ("proc", "dev", "tmp", MODEL)
PIN = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)
LIBRARY_PATH = re.compile(r"(/\S+) \(0x")


@dataclass(frozen=True)
class Program:
    """What a container starts.

    Attributes:
        command: arguments, the program first.
        environ: all of its environment.
        directory: where it runs.
    """

    command: Sequence[str]
    environ: Mapping[str, str]
    directory: str


@contextmanager
def image_root(image: str, model_dir: Path, work: Path) -> Iterator[tuple[Path, Program]]:
    """An image's files with another artefact, and the image's own entry point.

    Raises:
        Unavailable: podman doesn't have the image.
    """
    config = json.loads(call("podman", "image", "inspect", image))[0]["Config"]
    environ = dict(entry.split("=", 1) for entry in config.get("Env", []))
    command = [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]
    lower = call("podman", "image", "mount", image).strip()
    try:
        with _overlay(Path(lower), work) as root:
            _add_artefact(root, model_dir)
            yield root, Program(command, environ, config.get("WorkingDir") or "/")
    finally:
        subprocess.run(["podman", "image", "unmount", image], capture_output=True)


@contextmanager
def machine_root(model_dir: Path, work: Path) -> Iterator[tuple[Path, Program]]:
    """This machine's Python, the packages that the image has too, the handler and an artefact."""
    root = work / "machine"
    shutil.rmtree(root, ignore_errors=True)
    copied = [Path(os.path.realpath(sys.executable)), Path(sysconfig.get_path("stdlib"))]
    for path in copied:
        _copy(path, root / str(path)[1:])
    site = root / "opt/firebrick/site"
    for name in PIN.findall((REPOSITORY / "requirements/runtime.txt").read_text()):
        for file in distribution(name).files or ():
            if ".." not in file.parts:
                _copy(Path(str(file.locate())), site / file)
    _copy(REPOSITORY / "handler", root / "opt/firebrick/app/handler")
    for library in _linked([*copied[:1], *site.rglob("*.so*"), *root.rglob("lib-dynload/*.so")]):
        _copy(library, root / str(library)[1:])
    _add_artefact(root, model_dir)
    environ = {
        "FIREBRICK_MODEL_DIR": f"/{MODEL}",
        "FIREBRICK_VERIFY": "quick",
        "PYTHONPATH": "/opt/firebrick/app:/opt/firebrick/site",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        yield root, Program([str(copied[0]), "-m", "handler"], environ, "/opt/firebrick/app")
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _linked(binaries: Sequence[Path]) -> set[Path]:
    """The libraries of the system that these are linked with."""
    done = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True)
    return {Path(path) for path in LIBRARY_PATH.findall(done.stdout)}


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        unwanted = shutil.ignore_patterns("test", "tests", "site-packages", "dist-packages", "config-*")
        shutil.copytree(source, target, ignore=unwanted, dirs_exist_ok=True)
    elif not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def _add_artefact(root: Path, model_dir: Path) -> None:
    """Put another artefact in the place of the image's."""
    model = root / MODEL
    shutil.rmtree(model, ignore_errors=True)
    for name in MOUNT_POINTS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for path in model_dir.iterdir():
        try:
            os.link(path.resolve(), model / path.name)
        except OSError:  # another file system, an overlay among them
            shutil.copyfile(path, model / path.name)


@contextmanager
def _overlay(lower: Path, work: Path) -> Iterator[Path]:
    with ExitStack() as stack:
        layers = {name: work / name for name in ("upper", "scratch", "merged")}
        for path in layers.values():
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
            stack.callback(shutil.rmtree, path, ignore_errors=True)
        options = f"lowerdir={lower},upperdir={layers['upper']},workdir={layers['scratch']}"
        call("mount", "-t", "overlay", "overlay", "-o", options, str(layers["merged"]))
        stack.callback(call, "umount", str(layers["merged"]))
        yield layers["merged"]


def make_image(root: Path, image: Path, layers: Sequence[Path] = ()) -> None:
    """Write a root file system as an image, with the times of its files, which byte code is held against.

    Args:
        root: the files.
        image: its suffix says the file system: .ext4 or .erofs.
        layers: of an image, from the lowest up; an ext4 has the files in their order.

    Raises:
        Unavailable: it can't be written.
    """
    image.unlink(missing_ok=True)
    if image.suffix == ".erofs":
        call("mkfs.erofs", "--quiet", "--preserve-mtime", str(image), str(root))
    else:
        ext4.make(root, image, layers)


def layers_of(image: str) -> list[Path]:
    """Where podman keeps an image's layers, from the lowest up; none if it keeps them otherwise.

    Raises:
        Unavailable: podman doesn't have the image.
    """
    driver = json.loads(call("podman", "image", "inspect", image))[0]["GraphDriver"]
    below = [path for path in driver["Data"].get("LowerDir", "").split(":") if path]
    return [Path(path) for path in (*reversed(below), driver["Data"].get("UpperDir", "")) if path]


def has_image(image: str) -> bool:
    """Whether podman is there and has an image."""
    if shutil.which("podman") is None:
        return False
    return subprocess.run(["podman", "image", "exists", image], capture_output=True).returncode == 0


def require_artefact(model_dir: Path) -> None:
    """Raise Unavailable if a directory is no artefact."""
    if not (model_dir / "manifest.json").is_file():
        raise Unavailable(f"{model_dir} is no artefact: it has no manifest.json; `make export` makes one")
