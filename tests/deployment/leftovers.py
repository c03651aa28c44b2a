"""What is there of a deployment, asked of AWS rather than of Terraform."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import boto3

from tests.deployment.workspace import KEYS

ACCOUNT = "123456789012"
GONE = "DELETE_COMPLETE"
LOGS = re.compile("^/aws/(lambda|vendedlogs/states)/")


def aws(endpoint: str, service: str) -> Any:
    """boto3's client for moto's server."""
    keys = {"aws_access_key_id": KEYS["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": KEYS["AWS_SECRET_ACCESS_KEY"]}
    return boto3.client(service, region_name="us-east-1", endpoint_url=endpoint, **keys)


def leftovers(endpoint: str, name: str) -> list[str]:
    """Every resource whose name begins with a deployment's."""
    return sorted(what for what in _everything(endpoint) if LOGS.sub("", what.split(" ", 1)[1]).startswith(name))


def _everything(endpoint: str) -> Iterator[str]:
    def ask(service: str, operation: str, *path: str, **arguments: Any) -> Iterator[Any]:
        answer = getattr(aws(endpoint, service), operation)(**arguments)
        yield from answer.get(path[0], [])

    yield from (f"function {item['FunctionName']}" for item in ask("lambda", "list_functions", "Functions"))
    for item in ask("lambda", "list_event_source_mappings", "EventSourceMappings"):
        yield f"mapping {item['FunctionArn'].split('function:')[1]}"
    yield from (f"repository {item['repositoryName']}" for item in ask("ecr", "describe_repositories", "repositories"))
    yield from (f"log {item['logGroupName']}" for item in ask("logs", "describe_log_groups", "logGroups"))
    yield from (f"role {item['RoleName']}" for item in ask("iam", "list_roles", "Roles"))
    yield from (f"policy {item['PolicyName']}" for item in ask("iam", "list_policies", "Policies", Scope="Local"))
    yield from (f"queue {url.rsplit('/', 1)[1]}" for url in ask("sqs", "list_queues", "QueueUrls"))
    yield from (f"bucket {item['Name']}" for item in ask("s3", "list_buckets", "Buckets"))
    for item in ask("secretsmanager", "list_secrets", "SecretList", IncludePlannedDeletion=True):
        yield f"secret {item['Name']}"
    for item in ask("stepfunctions", "list_state_machines", "stateMachines"):
        yield f"machine {item['name']}"
    yield from (f"alarm {item['AlarmName']}" for item in ask("cloudwatch", "describe_alarms", "MetricAlarms"))
    for item in ask("cloudwatch", "list_dashboards", "DashboardEntries"):
        yield f"dashboard {item['DashboardName']}"
    for item in ask("cloudformation", "list_stacks", "StackSummaries"):
        if item["StackStatus"] != GONE:
            yield f"stack {item['StackName']}"
    for item in ask(
        "application-autoscaling", "describe_scalable_targets", "ScalableTargets", ServiceNamespace="lambda"
    ):
        yield f"target {item['ResourceId'].removeprefix('function:')}"
    yield from (
        f"budget {item['BudgetName']}" for item in ask("budgets", "describe_budgets", "Budgets", AccountId=ACCOUNT)
    )
    yield from (f"group {item['GroupName']}" for item in ask("ec2", "describe_security_groups", "SecurityGroups"))
