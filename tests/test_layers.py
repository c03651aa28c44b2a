"""Who may import whom: data goes one way, and no torch gets near what is served or exported."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.pages import page, table

TRAINING = {"torch", "transformers"}
EXPORT = {"huggingface_hub", "ml_dtypes", "onnx", "onnx_ir", "safetensors", "threadpoolctl", "tokenizers", "tqdm"}
FORBIDDEN = {
    "handler": {"model_export", "image", "bench", "demo", "tests", "boto3", "moto"} | TRAINING | EXPORT,
    "model_export": {"handler", "image", "bench", "demo", "tests", "boto3", "moto", "starlette", "uvicorn"} | TRAINING,
    "image": {"model_export", "bench", "demo", "tests", "moto", "numpy", "onnxruntime"} | TRAINING | EXPORT,
    "bench": {"image", "tests"} | TRAINING,
    "demo": {"handler", "image", "tests"},
}
# What runs in the environment with torch, and there only.
WITH_TORCH = (ROOT / "model_export/optimum", ROOT / "bench/baselines")
# What the images' tools know of the handler: what an artefact is, which library it needs, how a secret is read.
IMAGES_OWN = {"handler.access.api_key", "handler.artefact", "handler.engine.kernels", "handler.errors"}
# What runs in a process of its own is named like an import, and is none.
PROCESSES = {
    ("model_export/prefixes.py", "handler.prefixing"),
    ("model_export/formats.py", "handler.text.families"),
}
# The rooms and the trunk of handler/, from top to bottom: nothing imports what stands above it.
LAYERS = (
    *("__main__", "doctor", "prefixing", "worker", "http", "start", "access", "generation", "choices", "model", "api"),
    *("text", "metrics", "logs", "invocation", "deadline", "scheduler", "engine", "turns", "artefact", "billing"),
    *("snapshot", "prices", "settings", "errors", "hashes"),
)


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it, and those that it names for `import_module`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "handler")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"^handler(?:\.[a-z_]+)+$", node.value)


def layer(path: Path) -> str:
    return path.relative_to(ROOT / "handler").parts[0].removesuffix(".py")


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_package_reaches_back(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        processes = {name for file, name in PROCESSES if ROOT / file == path}
        forbidden = FORBIDDEN[package] - (TRAINING if set(path.parents) & set(WITH_TORCH) else set())
        assert not forbidden & {name.split(".")[0] for name in set(imported(path)) - processes}, path


def test_the_images_tools_import_little_of_the_handler() -> None:
    # install.py also tries what it has installed, whatever that imports.
    modules = {name for path in (ROOT / "image").rglob("*.py") if path.name != "install.py" for name in imported(path)}
    assert {name for name in modules if name.startswith("handler.")} == IMAGES_OWN


MODULES = sorted(path for path in (ROOT / "handler").rglob("*.py") if layer(path) != "__init__")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_go_downwards(path: Path) -> None:
    below = LAYERS[LAYERS.index(layer(path)) :]
    reached = {name.split(".")[1] for name in imported(path) if name.startswith("handler.")}
    assert sorted(reached - set(below)) == []


def test_every_room_has_its_layer_in_the_docs_too() -> None:
    told = [
        row[0].strip("`/").removesuffix(".py") for row in table(page("docs/architecture.md"), "layer | what it holds")
    ]
    assert told == list(LAYERS)
    assert {layer(path) for path in MODULES} == set(LAYERS)


LOAD_WITHOUT_THE_REST = """
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

def plain(name):
    return name.lower().replace("-", "_")

runtime = {plain(line.split("==")[0]) for line in Path(sys.argv[2]).read_text().splitlines()}
runtime.add("firebrick")  # itself, where `make wheel` has described it
hidden = {
    module
    for module, distributions in packages_distributions().items()
    if not runtime & {plain(distribution) for distribution in distributions}
}

class Hider:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in hidden:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Hider())
for name in sys.argv[3:]:
    __import__(name)
from handler.start.loading import load_model
from handler.settings import Settings

load_model(Settings(Path(sys.argv[1])), threads=1)
print(len(hidden), "hidden")
"""


def hidden_while_loading(artefact: Path, requirements: str, *modules: str) -> int:
    command = [sys.executable, "-c", LOAD_WITHOUT_THE_REST, str(artefact), f"requirements/{requirements}.txt", *modules]
    environ = {**os.environ, "FIREBRICK_MODEL_DIR": str(artefact)}
    return int(subprocess.check_output(command, cwd=ROOT, text=True, env=environ).split()[-2])


def test_the_server_loads_with_the_runtime_set_alone(demo_artefact: Path) -> None:
    assert hidden_while_loading(demo_artefact, "runtime", "handler.http.app", "handler.http.server") > 20


def test_the_worker_loads_with_the_worker_set_alone(demo_artefact: Path) -> None:
    assert hidden_while_loading(demo_artefact, "worker", "handler.worker.function") > 20


def test_the_server_imports_neither_the_workers_sdk_nor_what_reads_secrets() -> None:
    script = "import sys, handler.__main__, handler.http.app, handler.http.server; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True).split()
    assert "handler.access.keys" in modules
    assert not {"aws_lambda_powertools", "botocore", "handler.access.secret"} & set(modules)


NOTHING_HAPPENS = """
import pkgutil, sys, threading
import handler
before = threading.active_count()
names = [module.name for module in pkgutil.walk_packages(handler.__path__, "handler.")]
for name in names:
    if name not in ("handler.__main__", "handler.worker.function", "handler.libfirebrick_kernels"):
        __import__(name)
assert threading.active_count() == before
print(len(names), end="")
"""


def test_importing_a_module_does_nothing_else() -> None:
    command = [sys.executable, "-c", NOTHING_HAPPENS]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FIREBRICK_")}
    assert int(subprocess.check_output(command, cwd=ROOT, text=True, env=environ)) > 30
