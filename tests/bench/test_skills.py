from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.quality import main
from bench.skills import ARTEFACTS, Answerer
from demo.evaluation import SKILLS, Item


def test_every_skill_is_scored_for_every_artefact(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--count", "1"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["scores"]
    assert found.keys() == ARTEFACTS.keys()
    assert all(row.keys() == set(SKILLS) and max(row.values()) <= 1 for row in found.values())


def test_the_demo_model_says_who_it_is(demo_artefact: Path) -> None:
    item = Item([{"role": "user", "content": "Who are you?"}], "")
    assert "Firebrick" in Answerer(demo_artefact, 1).answer(item)
