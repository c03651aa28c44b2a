"""The build context: what an image is made of, and nothing else, in a directory of its own."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from handler.artefact import MANIFEST, WEIGHTS, Artefact, load_artefact
from handler.engine.kernels import NAME as LIBRARY
from image.errors import KernelsMissing

ROOT = Path(__file__).parent.parent
BUILDING = (
    "Dockerfile",
    "image/install.py",
    "image/start/__init__.py",
    "image/start/bundle.py",
    "image/start/launcher.sh",
    "image/start/libraries.py",
    "image/start/pages.py",
    "image/start/record.py",
    "image/start/touched.json",
    "requirements/runtime.txt",
    "requirements/worker.txt",
)
LAUNCHER = "build/launcher/release/firebrick-launcher"
MODEL = "model"
LAUNCHER_COPY = "launcher"


@contextmanager
def build_context(model_dir: Path, root: Path = ROOT) -> Iterator[Path]:
    """Lay out a context for as long as it is needed.

    The weights are linked, or copied where that can't be; all the rest is copied. Nothing in it depends on where the
    clone lies, what else lies in it, or its umask.

    Args:
        model_dir: an artefact; every hash in its manifest is checked, because the function won't do it again.
        root: the clone.

    Raises:
        StartupError: the artefact isn't whole.
        KernelsMissing: it asks for native kernels, and they aren't built.
    """
    artefact = load_artefact(model_dir, "full")
    library = library_for(artefact, root)
    parent = root / "build" / "image"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="context-", dir=parent) as directory:
        context = Path(directory)
        for path in (*BUILDING, *handler_files(root)):
            _copy(root / path, context / path)
        if library is not None:
            _copy(library, context / "handler" / LIBRARY)
        if (root / LAUNCHER).is_file():  # without cargo a script does for it, which asks for nothing
            _copy(root / LAUNCHER, context / LAUNCHER_COPY)
        for name in artefact_files(model_dir):
            (_link if name == WEIGHTS else _copy)(model_dir / name, context / MODEL / name)
        yield context


def library_for(artefact: Artefact, root: Path = ROOT) -> Path | None:
    """The kernels' library if it is built; only a stock artefact can do without.

    Raises:
        KernelsMissing: this one can't.
    """
    library = root / "handler" / LIBRARY
    if library.is_file():
        return library
    if artefact.kernels == "native":
        raise KernelsMissing(artefact.directory, library)
    return None


def handler_files(root: Path = ROOT) -> list[str]:
    """The handler's sources, its prices, its page, and the empty file of `engine/held`, relative to the clone."""
    handler = root / "handler"
    others = [path for name in ("http/static", "engine/held") for path in (handler / name).iterdir()]
    paths = [*handler.rglob("*.py"), handler / "prices.json", *others]
    return sorted(str(path.relative_to(root)) for path in paths)


def artefact_files(model_dir: Path) -> list[str]:
    """The artefact's files by name: the manifest and what it lists."""
    return sorted({MANIFEST, *json.loads((model_dir / MANIFEST).read_bytes())["files"]})


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system, or another's file
        shutil.copyfile(source, target)
