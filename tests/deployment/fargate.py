"""terraform/fargate/, deployed to moto's server beside a function and a key as the other deployment leaves them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from image.deploy.tool import find_terraform, init
from tests.deployment.leftovers import aws
from tests.deployment.workspace import BUILT, ROOT, Workspace

KEY = "a-key-that-opens-both"
IMAGE = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/firebrick@sha256:{'0' * 64}"
# A distribution takes the provider half a minute of waiting, which says nothing.
OVERRIDE = """
provider "aws" {
  max_retries = 2
}

resource "aws_cloudfront_distribution" "router" {
  wait_for_deployment = false
}
"""


class Root(Workspace):
    """A copy of the configuration alone."""

    @property
    def directory(self) -> Path:
        return self.root / "fargate"


@dataclass
class Stack:
    """What is deployed, while that and its end go on in the background."""

    root: Root
    threads: ThreadPoolExecutor
    _applied: Future[str]
    _destroyed: Future[str] | None = field(default=None)

    def ready(self) -> Root:
        """Wait for the apply."""
        self._applied.result()
        return self.root

    def changed(self, **variables: Any) -> Root:
        """The same with other variables."""
        root = self.ready()
        return Root(root.root, root.endpoint, root.registry, {**root.variables, **variables})

    def destroy(self) -> None:
        """Begin to remove all of it."""
        self._destroyed = self.threads.submit(self.ready().destroy)

    def destroyed(self) -> None:
        """Wait for its end."""
        if self._destroyed is None:
            self.destroy()
        assert self._destroyed is not None
        self._destroyed.result()
        self.threads.shutdown()

    def left(self) -> list[str]:
        """What is still there, asked of AWS."""
        endpoint = self.root.endpoint

        def ask(service: str, operation: str, *path: str, **arguments: Any) -> Any:
            found = getattr(aws(endpoint, service), operation)(**arguments)
            for name in path:
                found = found.get(name) or []
            return found

        named = [
            *(item["LoadBalancerName"] for item in ask("elbv2", "describe_load_balancers", "LoadBalancers")),
            *(item["TargetGroupName"] for item in ask("elbv2", "describe_target_groups", "TargetGroups")),
            *(item["DomainName"] for item in ask("cloudfront", "list_distributions", "DistributionList", "Items")),
            *(item["Name"] for item in ask("cloudfront", "list_functions", "FunctionList", "Items")),
            *(item["RoleName"] for item in ask("iam", "list_roles", "Roles") if item["RoleName"] != "function"),
            *(item["logGroupName"] for item in ask("logs", "describe_log_groups", "logGroups")),
        ]
        groups = ask("ec2", "describe_security_groups", "SecurityGroups")
        clusters = ask("ecs", "describe_clusters", "clusters", clusters=["firebrick"])
        active = [item["clusterName"] for item in clusters if item["status"] == "ACTIVE"]
        return [*named, *active, *(item["GroupName"] for item in groups if item["GroupName"] != "default")]


def make_stack(root: Path, endpoint: str) -> Stack:
    """Copy the configuration and begin to apply it."""
    shutil.copytree(ROOT / "terraform" / "fargate", root / "fargate", ignore=BUILT)
    (root / "fargate" / "test_override.tf").write_text(OVERRIDE)
    made = Root(root, endpoint, "", _variables(endpoint))
    init(find_terraform(), made.directory, made.environ)
    threads = ThreadPoolExecutor(1)
    return Stack(made, threads, threads.submit(made.apply))


def _variables(endpoint: str) -> Mapping[str, Any]:
    ec2, functions = aws(endpoint, "ec2"), aws(endpoint, "lambda")
    aws(endpoint, "secretsmanager").create_secret(Name="firebrick/api-key", SecretString=KEY)
    role = aws(endpoint, "iam").create_role(RoleName="function", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    functions.create_function(
        FunctionName="firebrick-stream", PackageType="Image", Code={"ImageUri": IMAGE}, Role=role, Publish=True
    )
    version = functions.publish_version(FunctionName="firebrick-stream")["Version"]
    functions.create_alias(FunctionName="firebrick-stream", Name="live", FunctionVersion=version)
    subnets = [item["SubnetId"] for item in ec2.describe_subnets()["Subnets"][:2]]
    return {
        "region": "us-east-1",
        "image": IMAGE,
        "vpc": {"id": ec2.describe_vpcs()["Vpcs"][0]["VpcId"], "subnet_ids": subnets},
        "api_key_secret": "firebrick/api-key",
        "router": {
            "function_url": "https://abc.lambda-url.us-east-1.on.aws/",
            "function": "firebrick-stream:live",
            "fargate_percent": 25,
            "api_key_sha256": sha256(KEY.encode()).hexdigest(),
        },
    }


def container(root: Root) -> dict[str, Any]:
    """The container of the task definition that the service runs, as ECS has it."""
    ecs, named = aws(root.endpoint, "ecs"), root.outputs()["service"]
    [service] = ecs.describe_services(cluster=named["cluster"], services=[named["service"]])["services"]
    definition = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])["taskDefinition"]
    [found] = definition["containerDefinitions"]
    return dict(found)


def node(script: str) -> Any:
    """What a script prints as JSON."""
    done = subprocess.run(["node", "--input-type=module", "-"], input=script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
