"""What docs/batches.md says of the state machine is what terraform/state_machine.tf has."""

from __future__ import annotations

import re

import pytest

import handler.errors
from tests.pages import names, page, table

PAGE = page("docs/batches.md")
DEFINITION = page("terraform/state_machine.tf")
ERROR = r"[A-Za-z0-9.]+"
# Error → how often it is tried again.
RETRIED = {
    error: int(attempts)
    for errors, attempts in re.findall(r"ErrorEquals\s*= \[(.*?)\].*?MaxAttempts\s*= (\d+)", DEFINITION, re.DOTALL)
    for error in re.findall(r'"([^"]+)"', errors)
}


def test_the_page_has_all_errors_that_are_tried_again_and_how_often() -> None:
    rows = table(PAGE, "error | tries more | waits")
    assert {error: int(row[1]) for row in rows for error in names(row[0], ERROR)} == RETRIED


@pytest.mark.parametrize("error", [error for error in RETRIED if "." not in error])
def test_what_the_worker_refuses_is_not_tried_again(error: str) -> None:
    assert getattr(handler.errors, error).status >= 500


def test_the_page_has_all_members_of_the_input() -> None:
    told = {name for row in table(PAGE, "member | what") for name in names(row[0])}
    options = re.search(r"batch_options *= \[(.*?)\]", DEFINITION)
    assert options
    given = {name for names in re.findall(r"given *= \[(.*?)\]", DEFINITION) for name in re.findall(r"\w+", names)}
    defaults = {"name", "messages", "tolerated_failure_percentage"}
    assert told == set(re.findall(r"\w+", options[1])) | given | defaults
