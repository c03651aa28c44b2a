"""What Terraform itself doesn't look at: misspelt members of objects are dropped, and any text may be a reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from image.deploy.tool import DIRECTORY

VARIABLES = (DIRECTORY / "variables.tf").read_text()
BLOCKS = {found[1]: found[0] for found in re.finditer(r'^variable "(\w+)" \{\n.*?^\}', VARIABLES, re.M | re.S)}
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
ASSIGNED = re.compile(r"(\w+)\s*=(?!=)")
EXAMPLES = sorted((DIRECTORY / "examples").glob("*.tfvars"))


def assigned(text: str) -> set[str]:
    return set(ASSIGNED.findall(STRING.sub('""', re.sub(r"#.*", "", text))))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_sets_only_what_there_is(example: Path) -> None:
    members = assigned("".join(block[: block.find("validation {")] for block in BLOCKS.values()))
    assert assigned(example.read_text()) <= BLOCKS.keys() | members


@pytest.mark.parametrize("name", BLOCKS)
def test_every_refusal_names_its_variable(name: str) -> None:
    for reason in re.findall(r'error_message\s*=\s*"((?:[^"\\]|\\.)*)"', BLOCKS[name]):
        assert name in reason


def test_every_rule_has_a_reason() -> None:
    assert VARIABLES.count("validation {") == VARIABLES.count("error_message") > 40
