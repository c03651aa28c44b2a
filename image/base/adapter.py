"""The Web Adapter out of the Rust package registry, as an image with that one file."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from image.base.names import ADAPTER
from image.engines import Build, Engine
from image.errors import CommandFailed
from image.tools import require

CRATE, VERSION, BINARY = "lambda_web_adapter", "0.9.1", "lambda-adapter"
DOCKERFILE = f"FROM scratch\nCOPY --chmod=0755 {BINARY} /{BINARY}\n"


def make_adapter(engine: Engine, cache: Path) -> None:
    """Put the adapter in an image.

    Args:
        engine: keeps the image.
        cache: directory for the binary, as `cargo install --root` takes it.

    Raises:
        ToolMissing: there is no cargo.
        CommandFailed: it can't be built.
    """
    binary = compile_adapter(cache, os.environ)
    with tempfile.TemporaryDirectory() as directory:
        context = Path(directory)
        shutil.copyfile(binary, context / BINARY)
        (context / "Dockerfile").write_text(DOCKERFILE)
        engine.build(Build(context, None, ADAPTER))


def compile_adapter(root: Path, environ: Mapping[str, str]) -> Path:
    """Compile the crate with its own lock file, unless that has been done; gives the binary.

    It tells nothing of where it was built.

    Raises:
        ToolMissing: there is no cargo.
        CommandFailed: cargo failed; it has said why.
    """
    binary = root / "bin" / BINARY
    if binary.is_file():
        return binary
    require("cargo", "compiles the Web Adapter", "https://rustup.rs has it")
    registry = environ.get("CARGO_HOME") or str(Path.home() / ".cargo")
    flags = f"{environ.get('RUSTFLAGS', '')} --remap-path-prefix={registry}=/cargo".strip()
    command = ["cargo", "install", "--locked", "--version", VERSION, "--root", str(root), CRATE]
    done = subprocess.run(command, env={**environ, "RUSTFLAGS": flags, "CARGO_PROFILE_RELEASE_STRIP": "symbols"})
    if done.returncode:
        raise CommandFailed(f"cargo install {CRATE}", done.returncode)
    return binary
