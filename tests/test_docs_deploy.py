"""What docs/deploy.md says of Terraform's variables, outputs, examples and errors is what is there."""

from __future__ import annotations

import re

import pytest

from image.deploy.mistakes import MISTAKES
from tests.conftest import ROOT
from tests.pages import names, page, table

PAGE = page("docs/deploy.md")
TOLD = table(PAGE, "variable | default | what")
# Name → its block in variables.tf.
BLOCKS = dict(re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', page("terraform/variables.tf"), re.MULTILINE | re.DOTALL))


def row_of(variable: str) -> list[str]:
    return next(row for row in TOLD if variable in names(row[0]))


def test_the_page_has_all_variables_and_no_others() -> None:
    assert {name for row in TOLD for name in names(row[0])} == set(BLOCKS)


DEFAULTS = {
    name: found[1].strip('"')
    for name, block in BLOCKS.items()
    if (found := re.search(r'^  default *= ("[^"]+"|\d+|true|false)$', block, re.MULTILINE))
}


@pytest.mark.parametrize("variable", DEFAULTS)
def test_the_page_has_the_variables_default(variable: str) -> None:
    assert DEFAULTS[variable] in re.findall(r"[\w/]+", row_of(variable)[1])


OBJECTS = {
    name: set(re.findall(r"^    (\w+) *= ", found[1], re.MULTILINE))
    for name, block in BLOCKS.items()
    if (found := re.search(r"^  type = object\(\{\n(.*?)^  \}\)", block, re.MULTILINE | re.DOTALL))
}


@pytest.mark.parametrize("variable", sorted(OBJECTS.keys() - {"image_uri"}))
def test_the_page_has_the_members_of_an_object_and_no_others(variable: str) -> None:
    assert OBJECTS[variable]
    others = set(BLOCKS) - OBJECTS[variable]
    assert names(row_of(variable)[2]) - others == OBJECTS[variable]


def test_the_page_has_all_outputs_and_no_others() -> None:
    told = {name for row in table(PAGE, "output | what") for name in names(row[0])}
    assert told == set(re.findall(r'^output "(\w+)"', page("terraform/outputs.tf"), re.MULTILINE))


def test_the_page_has_all_examples_and_no_others() -> None:
    found = {path.name for path in (ROOT / "terraform/examples").glob("*.tfvars")}
    assert found == set(re.findall(r"examples/([\w-]+\.tfvars)", PAGE))


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in MISTAKES])
def test_the_page_has_every_mistake_that_make_deploy_explains(pattern: str) -> None:
    assert any(re.search(pattern, row[0]) for row in table(PAGE, "what it says | what to do"))


def test_every_variable_that_a_command_sets_exists() -> None:
    assert set(re.findall(r"-var (\w+)=", PAGE + page("README.md"))) <= set(BLOCKS)


def test_every_service_that_terraform_makes_something_of_is_in_the_credentials_list() -> None:
    kinds = {
        kind
        for path in (ROOT / "terraform").glob("*.tf")
        for kind in re.findall(r'^resource "aws_(\w+)"', path.read_text(), re.M)
    }
    services = {
        "appautoscaling": "application-autoscaling",
        "budgets": "budgets",
        "cloudformation": "cloudformation",
        "cloudwatch_log": "logs",
        "cloudwatch": "cloudwatch",
        "ecr": "ecr",
        "iam": "iam",
        "lambda": "lambda",
        "s3": "s3",
        "secretsmanager": "secretsmanager",
        "security": "ec2",
        "sfn": "states",
        "sqs": "sqs",
        "vpc": "ec2",
    }
    told = {service for row in table(PAGE, "for | actions | on") for service in re.findall(r"`([a-z0-9-]+):", row[1])}
    wanted = {next(service for prefix, service in services.items() if kind.startswith(prefix)) for kind in kinds}
    assert wanted == told
