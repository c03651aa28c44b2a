"""The answers of a document's records → its result."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from handler.worker.documents.parts import Answered
from handler.worker.documents.plan import Plan, summary
from handler.worker.results import Result

# Of one answer alone: what they would be of several together, nobody could say.
ALONE = ("queue_ms", "first_token_ms", "decode_tokens_per_second")
SAID = ("text", "reasoning_content", "finish_reason", "logprobs")


def document_result(plan: Plan, job_id: str, records: Sequence[Answered]) -> Result:
    """Write down what a document has become.

    Args:
        plan: How it was answered.
        job_id: Of its message.
        records: The answers of each of its records.
    """
    every = [result for record in records for result in record.all]
    return {
        "id": f"doc-{job_id}",
        "created": int(time.time()),
        "model": plan.model_id,
        "system_fingerprint": plan.fingerprint,
        "source": {**plan.source.members(), "bytes": plan.source.size},
        "instruction": plan.asking.instruction,
        "plan": summary(plan, max(record.levels for record in records)),
        **_said(plan, records),
        "usage": _sum([result["usage"] for result in every]),
        "timings": timings([result["timings"] for result in every]),
    }


def _said(plan: Plan, records: Sequence[Answered]) -> dict[str, Any]:
    lines = [record.line for record in plan.document.records]
    if lines[0] is None:
        return _of_record(plan, 0, records[0])
    return {"answers": [{"line": line, **_of_record(plan, n, records[n])} for n, line in enumerate(lines)]}


def _of_record(plan: Plan, index: int, record: Answered) -> dict[str, Any]:
    if len(record.last) == 1:
        return _choice(record.last[0])
    parts = zip(plan.parts[index], record.last, strict=True)
    return {"answers": [{"begin": part.begin, "end": part.end, **_choice(result)} for part, result in parts]}


def _choice(result: Result) -> dict[str, Any]:
    return {name: result[name] for name in SAID if name in result}


def timings(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up what answers took; those that were made side by side took less together."""
    names = [name for name in each[0] if name not in ALONE]
    return _sum([{name: one.get(name) for name in names} for one in each])


def _sum(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for name in each[0]:
        values = [one[name] for one in each]
        if all(isinstance(value, Mapping) for value in values):
            total[name] = _sum(values)
        elif all(isinstance(value, int | float) for value in values):
            total[name] = round(sum(values), 9)
        else:
            total[name] = None  # One that isn't known makes a sum that isn't known.
    return total
