"""Who may import whom: data goes one way, and no torch gets near what is served or exported."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

FORBIDDEN = {
    "handler": {"model_export", "bench", "demo", "tests", "torch", "transformers", "tokenizers", "safetensors", "onnx"},
    "model_export": {"handler", "bench", "demo", "tests", "torch", "transformers"},
    "bench": {"tests", "torch", "transformers"},
}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_package_reaches_back(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert not FORBIDDEN[package] & set(imported(path)), path


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
