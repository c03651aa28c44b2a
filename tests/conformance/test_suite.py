"""By the official suite: what is refused is listed, nothing invalid is let through, what is finished is valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.answering import Model, problem
from tests.conformance.conftest import EVERYTHING
from tests.conformance.suite import ARCHIVE, Group, groups

pytestmark = pytest.mark.skipif(not ARCHIVE.exists(), reason="make build/conformance/.ready downloads the suite")
REFUSED = Path(__file__).parent / "refused.txt"
# U+FEFF is a blank for ECMAScript and none for Python, whose word counts for whoever uses jsonschema.
BEYOND = {"optional/ecmascript-regex.json | ECMA 262 \\S matches everything but whitespace"}


def chosen(model: Model) -> dict[str, Group]:
    accepted = [group for group in groups() if model.refusal(group.schema) is None]
    return {group.name: group for group in accepted[:: 1 if EVERYTHING else 4]}


def test_what_is_refused_is_listed_and_nothing_else_is(model: Model) -> None:
    refused = {group.name: reason for group in groups() if (reason := model.refusal(group.schema)) is not None}
    assert [f"{name} | {reason}" for name, reason in sorted(refused.items())] == REFUSED.read_text().splitlines()


def test_no_instance_is_accepted_that_the_suite_calls_invalid(model: Model) -> None:
    wrong = [
        (group.name, test["description"])
        for group in chosen(model).values()
        for test in group.tests
        if not test["valid"] and group.name not in BEYOND and model.accepts(group.schema, test["data"])
    ]
    assert wrong == []


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_every_finished_answer_is_valid(model: Model, temperature: float) -> None:
    schemas = {name: group.schema for name, group in chosen(model).items()}
    answers = model.answers(schemas, temperature)
    finished = {name: answer.text for name, answer in answers.items() if answer.finished}
    problems = {name: (text, found) for name, text in finished.items() if (found := problem(schemas[name], text))}
    assert problems == {}
    assert len(finished) > len(answers) / 8  # many schemas take any text, and a tiny model knows no end of one
