"""The programs that are compared: what each starts, and the files that its image would need."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.baselines.asking import Asked, firebrick_ready, function_ready, llama_ready
from bench.baselines.models import CONTEXT
from bench.cold_start.disk import Unavailable
from bench.llama_cpp.build import program
from bench.port import free_port

REPOSITORY = Path(__file__).parent.parent.parent
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
REFERENCE = REPOSITORY / ".venv-reference" / "bin" / "python"
# Everything that the named packages need, installed: their files, one a line.
LIST_FILES = """
import re, sys
from importlib.metadata import PackageNotFoundError, distribution
wanted, seen = sys.argv[1:], set()
while wanted:
    name = wanted.pop()
    if name in seen:
        continue
    seen.add(name)
    try:
        found = distribution(name)
    except PackageNotFoundError:
        continue
    print(*(file.locate() for file in found.files or () if ".." not in file.parts), sep="\\n")
    needed = (line for line in found.requires or () if "extra ==" not in line)
    wanted += [re.match(r"[\\w.-]+", line)[0] for line in needed]
"""


@dataclass(frozen=True)
class Program:
    """One way to have a model.

    Attributes:
        what: it is, in a few words.
        command: to start it.
        environ: what it needs of the environment.
        ready: waits until it can be asked.
        python: of which environment, if any; its files are part of the image.
        packages: that it imports.
        files: all others, and directories of them.
    """

    what: str
    command: Sequence[str]
    ready: Callable[[subprocess.Popen[str]], Asked]
    environ: Mapping[str, str] = field(default_factory=dict)
    python: Path | None = None
    packages: Sequence[str] = ()
    files: Sequence[Path] = ()

    def contents(self) -> list[Path]:
        """The files of its image but Python itself and the system's libraries."""
        listed: list[str] = []
        if self.python is not None:
            command = [str(self.python), "-c", LIST_FILES, *self.packages]
            listed = subprocess.check_output(command, text=True).splitlines()
        found = {Path(line) for line in listed if line}
        for path in self.files:
            found |= {file for file in path.rglob("*") if file.is_file()} if path.is_dir() else {path}
        return sorted(path for path in found if path.is_file())


def firebrick(what: str, artefact: Path) -> Program:
    """Our server with an artefact."""
    environ = {"FIREBRICK_MODEL_DIR": str(artefact), "FIREBRICK_VERIFY": "quick", "AWS_LWA_PORT": "0"}
    packages = ["jinja2", "kitoken", "llguidance", "numpy", "onnxruntime", "starlette", "uvicorn"]
    files = [REPOSITORY / "handler", artefact]
    command = [sys.executable, "-m", "handler"]
    return Program(what, command, firebrick_ready, environ, Path(sys.executable), packages, files)


def llama_cpp(gguf: Path, isa: str, threads: int) -> Program:
    """llama.cpp's server, as images for the Web Adapter have it.

    Args:
        gguf: the model.
        isa: of the build.
        threads: else it takes half of the processors; all others take all.

    Raises:
        NotBuilt: it isn't there.
    """
    port, server = free_port(), program("llama-server", isa)
    options = ["-m", gguf, "--port", port, "-c", CONTEXT, "-np", 1, "-t", threads, "--no-webui"]
    files = [server, *sorted(server.parent.glob("*.so*")), gguf]
    ready = partial(llama_ready, port=port)
    return Program("llama-server, Q4_0", [str(server), *map(str, options)], ready, files=files)


def from_image(what: str, checkpoint: Path) -> Program:
    """torch and transformers, with a checkpoint in the image."""
    return _function("from_image", what, {"MODEL_DIR": str(checkpoint)}, [checkpoint])


def from_s3(endpoint: str, bucket: str, prefix: str) -> Program:
    """torch and transformers, with a checkpoint out of S3."""
    environ = {"AWS_ENDPOINT_URL_S3": endpoint, "MODEL_BUCKET": bucket, "MODEL_PREFIX": prefix, **CREDENTIALS}
    return _function("from_s3", "torch, transformers, checkpoint out of S3", environ, [])


def _function(module: str, what: str, environ: Mapping[str, str], files: Sequence[Path]) -> Program:
    if not REFERENCE.exists():
        raise Unavailable("torch and transformers aren't there: make test-reference installs them (5.7 GB)")
    command = [str(REFERENCE), "-m", "bench.baselines.runtime", f"bench.baselines.{module}"]
    packages = ["torch", "transformers", *(["boto3"] if module == "from_s3" else [])]
    code = [REPOSITORY / "bench" / "__init__.py", REPOSITORY / "bench" / "baselines"]
    return Program(what, command, function_ready, environ, REFERENCE, packages, [*code, *files])


def environment(program: Program) -> dict[str, str]:
    """All of a program's environment; nothing of it asks the hub for anything."""
    fixed = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "LC_ALL": "C.UTF-8", "HF_HUB_OFFLINE": "1"}
    return {**fixed, **program.environ}
