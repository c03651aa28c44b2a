"""`python -m image.deploy.kubernetes`: kubernetes/, made whole by kustomize, held against its schemas.

Programs and schemas come from Go modules, and stay in build/kubernetes/.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from image.command import exit_code
from image.deploy.schemas import LOCATION, from_definition, from_openapi
from image.errors import CheckFailed, CommandFailed, ToolMissing
from image.tools import require

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "kubernetes"
BUILD = ROOT / "build" / "kubernetes"
KUBERNETES = "k8s.io/kubernetes@v1.36.3"
KEDA = "github.com/kedacore/keda/v2@v2.21.0"
KUBECONFORM = "github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0"
KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1"
GO = "https://go.dev/doc/install"


def check(environ: Mapping[str, str], manifests: Path = MANIFESTS) -> None:
    """Check every folder that has a kustomization.

    Args:
        environ: of this process.
        manifests: the folder with all of them.

    Raises:
        CheckFailed: one can't be put together, or an object isn't as its schema says.
        CommandFailed: a module can't be had.
    """
    try:
        go = require("go", "builds kubeconform", GO)
    except ToolMissing as error:
        print(f"!!! THE MANIFESTS WERE NOT CHECKED: {error}", file=sys.stderr, flush=True)
        return
    kubeconform, kustomize = built(go, KUBECONFORM, environ), find_kustomize(go, environ)
    schemas = made_schemas(go, environ)
    for folder in sorted(path.parent for path in manifests.rglob("kustomization.yaml")):
        name = str(folder.relative_to(manifests.parent))
        said = validate(kubeconform, schemas, render(kustomize, folder), name)
        print(f"{name}: {said}", flush=True)


def find_kustomize(go: str, environ: Mapping[str, str]) -> Sequence[str]:
    """kubectl's, or else one that is built here.

    Raises:
        CommandFailed: it can't be built.
    """
    kubectl = shutil.which("kubectl")
    return [kubectl, "kustomize"] if kubectl else [str(built(go, KUSTOMIZE, environ)), "build"]


def built(go: str, module: str, environ: Mapping[str, str]) -> Path:
    """Build a program of a Go module, unless this version is there.

    Raises:
        CommandFailed: it can't be built.
    """
    path, version = module.split("@")
    words = [word for word in path.split("/") if not (word[0] == "v" and word[1:].isdecimal())]
    program = BUILD / version / words[-1]
    if not program.is_file():
        command = [go, "install", "-trimpath", module]
        done = subprocess.run(
            command, env={**environ, "GOBIN": str(program.parent.absolute())}, capture_output=True, text=True
        )
        if done.returncode:
            raise CommandFailed(" ".join(command[1:]), done.returncode, done.stderr)
    return program


def made_schemas(go: str, environ: Mapping[str, str]) -> Path:
    """Make the schemas of both modules, unless these versions' are there; returns their folder.

    Raises:
        CommandFailed: a module can't be downloaded.
    """
    import yaml  # only tests and this check need it

    versions = "-".join(module.split("@")[1] for module in (KUBERNETES, KEDA))
    folder = BUILD / f"schemas-{versions}"
    if folder.is_dir():
        return folder
    document = json.loads((module(go, KUBERNETES, environ) / "api/openapi-spec/swagger.json").read_text())
    found = dict(from_openapi(document))
    for path in (module(go, KEDA, environ) / "config/crd/bases").glob("*.yaml"):
        found.update(from_definition(yaml.safe_load(path.read_text())))
    staged = folder.with_suffix(".new")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    for name, schema in found.items():
        (staged / name).write_text(json.dumps(schema))
    staged.rename(folder)
    return folder


def module(go: str, name: str, environ: Mapping[str, str]) -> Path:
    """Download a Go module; returns its folder.

    Raises:
        CommandFailed: it can't be had.
    """
    command = [go, "mod", "download", "-json", name]
    done = subprocess.run(command, env=dict(environ), cwd=BUILD.parent, capture_output=True, text=True)
    if done.returncode:
        raise CommandFailed(" ".join(command[1:]), done.returncode, done.stderr or done.stdout)
    return Path(json.loads(done.stdout)["Dir"])


def render(kustomize: Sequence[str], folder: Path) -> str:
    """Put a folder's objects together.

    Raises:
        CheckFailed: kustomize can't; its own words stand above.
    """
    return _run(f"kustomize {folder.name}", [*kustomize, str(folder)], None)


def validate(kubeconform: Path, schemas: Path, objects: str, name: str) -> str:
    """Hold objects against the schemas; returns kubeconform's summary.

    Raises:
        CheckFailed: one isn't as its schema says, or has none; kubeconform's own words stand above.
    """
    command = [str(kubeconform), "-strict", "-summary", "-schema-location", f"{schemas}/{LOCATION}"]
    return _run(f"kubeconform {name}", command, objects).strip()


def _run(what: str, command: Sequence[str], given: str | None) -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr, flush=True)
        raise CheckFailed(what, done.returncode, "kubernetes/")
    return done.stdout


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command; the exit code is 0, or 2 if something is wrong."""
    argparse.ArgumentParser("python -m image.deploy.kubernetes", description="Check kubernetes/.").parse_args(arguments)
    return exit_code(lambda: check(environ))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
