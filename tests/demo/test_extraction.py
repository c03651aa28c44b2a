"""Extraction's answers are JSON, and every value stands in the text."""

from __future__ import annotations

import json
from random import Random

import pytest

from demo.extraction import email, extraction, log_line, order


@pytest.mark.parametrize("seed", range(200))
def test_the_answer_is_json_with_values_of_the_text(seed: int) -> None:
    question, answer = (message["content"] for message in extraction(Random(seed), seed % 2 == 0))
    record = json.loads(answer)
    assert record
    assert all(str(value) in question and field in question for field, value in record.items())


@pytest.mark.parametrize("make", [email, order, log_line])
def test_every_template_shows_every_field(make: object) -> None:
    for seed in range(100):
        text, record = make(Random(seed), False)  # type: ignore[operator]
        assert all(str(value) in text for value in record.values())
