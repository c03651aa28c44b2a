"""Starts → medians → a table in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from bench.baselines.starts import Start

COLUMNS: Mapping[str, tuple[str, float, str]] = {
    "ready": ("exec → ready, s", 1, "{:.2f}"),
    "first_token": ("→ first token, s", 1, "{:.2f}"),
    "processor_ready": ("processor s to ready", 1, "{:.2f}"),
    "processor": ("to the first token", 1, "{:.2f}"),
    "warm_first_token": ("warm, first token, s", 1, "{:.2f}"),
    "tokens_per_second": ("tokens/s", 1, "{:.1f}"),
    "processor_per_token": ("processor ms a token", 1e-3, "{:.0f}"),
    "peak": ("memory, MB", 1e6, "{:,.0f}"),
    "image": ("image, MB", 1e6, "{:,.0f}"),
}


def summarize(what: str, starts: Sequence[Start], image: int) -> dict[str, Any]:
    """What a program is, medians of its starts, and the bytes of its files."""
    rows = [asdict(start) for start in starts]
    medians = {key: round(median(row[key] for row in rows), 4) for key in rows[0]}
    return {"what": what, **medians, "image": image}


def table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """A row for each program."""
    lines = ["| | " + " | ".join(label for label, _, _ in COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, summary in summaries.items():
        cells = (form.format(summary[key] / unit) for key, (_, unit, form) in COLUMNS.items())
        lines.append(f"| {name}: {summary['what']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
