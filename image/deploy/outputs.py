"""What Terraform says of a deployment."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from image.deploy.tool import DIRECTORY, environment, find_terraform
from image.errors import NotDeployed


@dataclass(frozen=True)
class Outputs:
    """Of terraform/outputs.tf, those that commands here use."""

    url: str
    region: str
    api_key_secret: str | None


def read_outputs(environ: Mapping[str, str], directory: Path = DIRECTORY) -> Outputs:
    """Ask Terraform's state.

    Raises:
        ToolMissing: there is no terraform.
        NotDeployed: it has no outputs.
    """
    command = [str(find_terraform()), f"-chdir={directory}", "output", "-json", "-no-color"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(environ))
    if done.returncode:
        raise NotDeployed((done.stderr.strip().splitlines() or ["terraform output failed"])[-1])
    values = {name: output["value"] for name, output in json.loads(done.stdout or "{}").items()}
    if not values.get("url"):
        raise NotDeployed("terraform has no output `url`")
    return Outputs(values["url"], values["region"], values.get("api_key_secret"))
