"""What the worker says that an answer costs, against what the local Lambda reports as billed."""

from __future__ import annotations

import re
from pathlib import Path

from tests.image.local.lambda_process import local_lambda
from tests.image.local.test_examples import WORKER


def test_answers_are_billed_within_what_lambda_bills(demo_artefact: Path) -> None:
    question = {"prompt": "A cold start is", "max_tokens": 8}
    arguments = ("--env", f"FIREBRICK_MODEL_DIR={demo_artefact}", "--memory", "4096")
    with local_lambda("--command", WORKER, *arguments) as running:
        told = [running.invoke(question)[0]["timings"] for _ in range(2)]
        running.report(2)
        reported = [int(ms) for ms in re.findall(r"Billed Duration: (\d+) ms", "\n".join(running.lines))]
    assert all(0 < timings["billed_ms"] <= ms for timings, ms in zip(told, reported, strict=True))
    assert told[0]["billed_ms"] > told[0]["init_ms"] > 0
    assert "init_ms" not in told[1]
    assert 0 < told[1]["estimated_cost_usd"] < told[0]["estimated_cost_usd"]
