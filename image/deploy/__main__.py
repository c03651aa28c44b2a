"""`python -m image.deploy plan|apply|destroy`: Terraform, with the usual mistakes told in a line and what to do."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from image.aws import client, refusals
from image.command import exit_code
from image.deploy.mistakes import explain
from image.deploy.tool import DIRECTORY, environment, find_terraform, init
from image.errors import DeploymentFailed

ACTIONS = ("plan", "apply", "destroy")
STS_REGION = "us-east-1"  # for the question of who is calling any will do


def deploy(action: str, words: Sequence[str], environ: Mapping[str, str], directory: Path = DIRECTORY) -> None:
    """Run Terraform.

    Args:
        action: plan, apply or destroy.
        words: more of Terraform's arguments.
        environ: credentials, region, TF_VAR_….
        directory: with the configuration.

    Raises:
        ToolMissing: there is no Terraform.
        NoCredentials: AWS doesn't know who is calling.
        CommandFailed: the provider can't be had.
        DeploymentFailed: Terraform failed; what it said stands above.
    """
    terraform = find_terraform()
    caller = who_calls(environ)
    init(terraform, directory, environ)
    print(f"firebrick: {action} as {caller}", flush=True)
    color = [] if sys.stdout.isatty() else ["-no-color"]
    command = [str(terraform), f"-chdir={directory}", action, *color, *words]
    code, errors = run(command, environment(environ))
    if code:
        raise DeploymentFailed(action, list(explain(errors)))


def who_calls(environ: Mapping[str, str]) -> str:
    """The ARN that AWS knows the caller by.

    Raises:
        NoCredentials: it knows none.
        AwsError: it can't be asked.
    """
    api = client("sts", environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or STS_REGION)
    with refusals("STS", "say who is calling"):
        arn: str = api.get_caller_identity()["Arn"]
    return arn


def run(command: Sequence[str], environ: Mapping[str, str]) -> tuple[int, str]:
    """Run a command in the foreground; return its exit code and what it wrote to stderr, which is shown as it comes."""
    written = []
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                sys.stderr.write(line)
                written.append(line)
            return process.wait(), "".join(written)
        except KeyboardInterrupt:  # Terraform gets it too, and ends in good order.
            process.wait()
            raise


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command; the exit code is 0, or 2 if something prevented it."""
    parser = argparse.ArgumentParser(
        "python -m image.deploy", description="Plan, apply or destroy what is in terraform/."
    )
    parser.add_argument("action", choices=ACTIONS)
    given, words = parser.parse_known_args(arguments)
    return exit_code(lambda: deploy(given.action, words, environ))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
