"""A newcomer's mistakes, with the real Terraform: one message each, and nothing created."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from tests.deployment.leftovers import aws, leftovers
from tests.deployment.workspace import Workspace


def deploy(workspace: Workspace, *words: str, **environ: str) -> str:
    """Run what `make deploy` runs; return the last line, which is ours."""
    variables = [f"-var={name}={value}" for name, value in workspace.variables.items()]
    command = [sys.executable, "-m", "image.deploy", "apply", "-auto-approve", *variables, *words]
    done = subprocess.run(
        command, cwd=workspace.root, env={**workspace.environ, **environ}, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_no_artefact(workspace: Workspace) -> None:
    said = deploy(workspace, "-var=model_dir=build/nothing")
    assert "make export" in said
    assert "build/nothing" in said
    assert leftovers(workspace.endpoint, workspace.name) == []


def test_no_builder(workspace: Workspace, tmp_path: Path) -> None:
    terraform = tmp_path / "bin"
    terraform.mkdir()
    for program in ("terraform", "sh"):
        found = next(Path(part) / program for part in os.environ["PATH"].split(":") if (Path(part) / program).exists())
        (terraform / program).symlink_to(found)
    said = deploy(workspace, PATH=str(terraform))
    assert "nothing here can build an image" in said
    assert leftovers(workspace.endpoint, workspace.name) == []


def test_no_credentials(workspace: Workspace) -> None:
    said = deploy(workspace, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", AWS_EC2_METADATA_DISABLED="true", HOME="/")
    assert "no AWS credentials that work" in said


def test_a_region_that_is_none(workspace: Workspace) -> None:
    said = deploy(workspace, "-var=region=eu-centrl-1")
    assert "AWS_REGION" in said


def test_a_name_that_is_taken(workspace: Workspace) -> None:
    aws(workspace.endpoint, "ecr").create_repository(repositoryName="fb-taken")
    said = deploy(replace(workspace, variables={**workspace.variables, "name": "fb-taken"}))
    assert "a name is taken" in said
