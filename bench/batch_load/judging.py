"""What a run owes: nothing lost or doubled, poison given up with its reason, the same answers as without faults."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.batch_load.account import REGION
from bench.batch_load.documents import Document
from bench.batch_load.running import Outcome
from handler.prices import lambda_rates, read_regions


def judge(documents: Sequence[Document], outcome: Outcome) -> dict[str, Any]:
    """Count what became of the documents, and what it cost by list prices."""
    good = {document.key for document in documents if document.refused is None}
    poison = {document.key: document.refused for document in documents if document.refused is not None}
    dead = set(outcome.dead)
    return {
        "documents": len(documents),
        "results": len(outcome.results),
        "lost": sorted(good - set(outcome.results)),
        "doubled": sorted(key for key, times in outcome.written.items() if times != 1),
        "given_up": len(dead),
        "given_up_wrongly": sorted(dead & good),
        "poison_answered": sorted(set(poison) & set(outcome.results)),
        "without_reason": sorted(key for key, code in poison.items() if outcome.reasons.get(key) != code),
        "documents_per_minute": round(len(outcome.results) / outcome.answered_s * 60),
        "usd_per_thousand": round(cost(outcome.figures) / len(documents) * 1000, 6),
        **outcome.figures,
    }


def cost(figures: Mapping[str, Any]) -> float:
    """What the function and its calls of S3 cost, in US dollars; SQS at its least, four requests a batch."""
    rates, prices = lambda_rates(REGION, "x86_64"), read_regions()[REGION]
    assert rates is not None
    calls = figures["s3_calls"]
    puts = sum(count for method, count in calls.items() if method in ("PUT", "POST"))
    parts = (
        figures["gb_seconds"] * rates.gb_second,
        figures["invocations"] * rates.request,
        puts * prices["s3"]["put"],
        (sum(calls.values()) - puts) * prices["s3"]["get"],
        4 * figures["invocations"] * prices["sqs"]["request"],
    )
    return math.fsum(parts)


def different(first: Outcome, second: Outcome) -> list[str]:
    """Documents that have a result in both runs, but not the same."""
    both = set(first.results) & set(second.results)
    return sorted(key for key in both if first.results[key] != second.results[key])


def faults(row: Mapping[str, Any]) -> list[str]:
    """What must not be."""
    names = ("lost", "doubled", "given_up_wrongly", "poison_answered", "without_reason")
    return [f"{len(row[name])} {name.replace('_', ' ')}: {', '.join(row[name][:3])}" for name in names if row[name]]
