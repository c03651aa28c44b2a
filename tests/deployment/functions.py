"""Deployed functions, run by the local Lambda: the image that was pushed, the configuration that was deployed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from image.local.podman import podman
from tests.deployment.workspace import KEYS, Workspace
from tests.image.local.lambda_process import LocalLambda, local_lambda


@contextmanager
def run_deployed(workspace: Workspace, target: str, *arguments: str) -> Iterator[LocalLambda]:
    """Run a function as it stands in the account.

    Args:
        workspace: what was applied.
        target: stream or worker.
        *arguments: more of the local Lambda's.
    """
    function = workspace.outputs()["functions"][target]
    given = ["--image", pull(workspace, target), "--deployed", function]
    # AWS is moto's server on loopback, which a function's private network doesn't have by itself.
    given += ["--reach", workspace.endpoint.rsplit(":", 1)[1], "--env", f"AWS_ENDPOINT_URL={workspace.endpoint}"]
    with local_lambda(*given, *arguments, AWS_ENDPOINT_URL=workspace.endpoint, **KEYS) as running:
        yield running


def pull(workspace: Workspace, target: str) -> str:
    """Get the deployed image out of the registry, by its digest; return its name."""
    name = f"{workspace.registry}/{workspace.outputs()['images'][target].split('/', 1)[1]}"
    subprocess.run(podman("pull", "--quiet", "--tls-verify=false", name), check=True, capture_output=True)
    return name
