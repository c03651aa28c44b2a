"""A clone of one's own in which Terraform deploys to moto's server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from image.context import BUILDING
from image.deploy.tool import environment, find_terraform, init

ROOT = Path(__file__).parents[2]
BUILT = shutil.ignore_patterns("__pycache__", ".terraform*", "*.tfstate*", "*.tfvars.json")
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
# The provider finds moto's server by AWS_ENDPOINT_URL; what it can't be told by the environment is here. The images go
# into a registry on loopback, and from there by their manifests into moto's ECR, which is no registry.
OVERRIDE = """
provider "aws" {
  max_retries       = 2
  s3_use_path_style = true
}

resource "terraform_data" "image" {
  provisioner "local-exec" {
    command = join(" ", concat(
      ["'${local.python}' -m tests.deployment.push '${local.model_dir}' --architecture ${var.architecture}"],
      ["--repository '${aws_ecr_repository.images[0].repository_url}'"],
      [for target, tag in local.tags : "--push ${target}:${tag}"],
    ))
    working_dir = local.root
    environment = var.build_arguments
  }
}
"""


class Failed(Exception):
    """Terraform's own words."""


@dataclass(frozen=True)
class Workspace:
    """A copy of what a deployment is made of, and where it deploys to.

    Attributes:
        root: the copy.
        endpoint: of moto's server.
        registry: host and port of the one on loopback.
        variables: of Terraform, beside the artefact's place.
    """

    root: Path
    endpoint: str
    registry: str
    variables: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What everything begins with."""
        return str(self.variables.get("name", "firebrick"))

    @property
    def directory(self) -> Path:
        """Terraform's."""
        return self.root / "terraform"

    @property
    def environ(self) -> dict[str, str]:
        """What Terraform and our commands run in."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "TF_VAR_"))}
        mine = {**KEYS, "AWS_ENDPOINT_URL": self.endpoint, "FIREBRICK_TEST_REGISTRY": self.registry}
        return environment({**clean, **mine})

    def apply(self) -> str:
        """Deploy.

        Raises:
            Failed: it can't.
        """
        return self._run("apply", "-auto-approve")

    def destroy(self) -> str:
        """Remove all of it."""
        return self._run("destroy", "-auto-approve")

    def plan(self) -> list[tuple[str, str]]:
        """What an apply would do: (address, actions), without what stays as it is."""
        self._run("plan", "-out=plan.bin")
        shown = json.loads(self._terraform("show", "-json", "plan.bin"))
        changes = ((change["address"], "+".join(change["change"]["actions"])) for change in shown["resource_changes"])
        return sorted(change for change in changes if change[1] not in ("no-op", "read"))

    def outputs(self) -> dict[str, Any]:
        """What a person is shown."""
        shown = json.loads(self._terraform("output", "-json"))
        return {name: output["value"] for name, output in shown.items()}

    def _run(self, action: str, *words: str) -> str:
        (self.directory / "test.auto.tfvars.json").write_text(json.dumps(dict(self.variables)))
        return self._terraform(action, "-input=false", "-no-color", *words)

    def _terraform(self, *words: str) -> str:
        command = [str(find_terraform()), *words]
        done = subprocess.run(command, cwd=self.directory, env=self.environ, capture_output=True, text=True)
        if done.returncode:
            raise Failed(done.stdout + done.stderr)
        return done.stdout


def make_workspace(root: Path, endpoint: str, registry: str, **variables: Any) -> Workspace:
    """Copy the clone's sources and get the provider."""
    for path in (*BUILDING, "handler", "image", "terraform", "tests"):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, target, ignore=BUILT, dirs_exist_ok=True)
        else:
            shutil.copyfile(ROOT / path, target)
    (root / ".venv").symlink_to(ROOT / ".venv")
    (root / "terraform" / "test_override.tf").write_text(OVERRIDE)
    workspace = Workspace(root, endpoint, registry, {"model_dir": str(ROOT / "build" / "demo"), **variables})
    init(find_terraform(), workspace.directory, workspace.environ)
    return workspace
