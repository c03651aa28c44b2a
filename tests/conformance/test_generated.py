"""By schemas as people write them: none is refused, and what is finished is valid."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.conformance.answering import Model, problem
from tests.conformance.conftest import EVERYTHING
from tests.conformance.generated import CLASSES, generated

SCHEMAS = generated(500 if EVERYTHING else 100)


def test_none_is_refused(model: Model) -> None:
    assert {name: reason for name, schema in SCHEMAS.items() if (reason := model.refusal(schema))} == {}


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_every_finished_answer_is_valid(model: Model, temperature: float) -> None:
    answers = model.answers(SCHEMAS, temperature)
    finished = {name: answer.text for name, answer in answers.items() if answer.finished}
    problems = {name: (text, found) for name, text in finished.items() if (found := problem(SCHEMAS[name], text))}
    assert problems == {}
    assert Counter(name.split()[0] for name in finished).keys() == CLASSES.keys()
