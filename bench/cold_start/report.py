"""Starts → figures: medians for each disk, as lines and as one JSON value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from bench.cold_start.extents import KINDS, Layout, kind_of
from bench.cold_start.fetches import Amount, Fetch, by_file, by_kind, mean_in_flight
from bench.cold_start.profiles import Profile
from bench.cold_start.start import Start

MEGA = 1e6


def summarize(starts: Sequence[Start], profile: Profile, layout: Layout) -> dict[str, Any]:
    """Medians of several starts from one disk.

    Returns:
        `ms` by milestone; `ready` and `first_token`: MB and chunks by kind up to then; `mb_besides_weights` up to
        ready; `in_flight`: the weights' chunks at a time; `load_ms`: what all bytes take at the disk's bandwidth, and
        `ready_ratio`, `weights_ratio` and `first_token_ratio` against that; processor seconds of disk and program.
    """
    names = [name for name in starts[-1].ms if all(name in start.ms for start in starts)]
    summary: dict[str, Any] = {
        "rounds": len(starts),
        "ms": {name: round(median(start.ms[name] for start in starts), 1) for name in names},
        "processor_s": round(median(start.processor_s for start in starts), 2),
    }
    if not profile.lazy:
        return summary
    middle = sorted(starts, key=lambda start: start.ms["ready"])[len(starts) // 2]
    token = next(name for name in names if name.startswith("first token"))
    kinds = by_kind(until(middle, "ready"), layout)
    loads = [profile.seconds(sum(a.nbytes for a in by_kind(until(start, token), layout).values())) for start in starts]
    weights = [[fetch for fetch in start.fetches if layout.kind_at(fetch.offset) == "weights"] for start in starts]
    summary |= {
        "ready": _amounts(kinds),
        "first_token": _amounts(by_kind(until(middle, token), layout)),
        "mb_besides_weights": round(sum(a.nbytes for kind, a in kinds.items() if kind != "weights") / MEGA, 1),
        "in_flight": round(median(mean_in_flight(fetches) for fetches in weights), 1),
        "load_ms": round(median(loads) * 1e3, 1),
        "lazydisk_s": round(median(start.server_s[1] for start in starts), 2),
    }
    for key, name in ("ready_ratio", "ready"), ("weights_ratio", "last chunk of weights"), ("first_token_ratio", token):
        if name in names:
            ratios = [start.ms[name] / 1e3 / load for start, load in zip(starts, loads, strict=True) if load]
            summary[key] = round(median(ratios), 2) if ratios else None
    return summary


def baked_ratios(starts: Mapping[str, Sequence[Start]]) -> dict[str, float]:
    """First token with a prefix that was computed at export, against all of it read anew: disk → medians' ratio."""
    ratios = {}
    for label, baked in starts.items():
        disk = label.removesuffix(" baked")
        if disk != label and (unbaked := starts.get(f"{disk} unbaked")):
            first, other = (median(first_token_ms(start) for start in group) for group in (baked, unbaked))
            ratios[disk] = round(first / other, 3)
    return ratios


def first_token_ms(start: Start) -> float:
    """Milliseconds from exec to the first token."""
    return next(ms for name, ms in start.ms.items() if name.startswith("first token"))


def until(start: Start, name: str) -> list[Fetch]:
    """What had been asked for by a milestone."""
    end = start.exec_ns + start.ms[name] * 1e6
    return [fetch for fetch in start.fetches if fetch.begin <= end]


def _amounts(kinds: Mapping[str, Amount]) -> dict[str, Any]:
    return {kind: {"mb": round(a.nbytes / MEGA, 1), "chunks": a.chunks} for kind, a in kinds.items()}


def lines(summaries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The summaries as a table, a column for each disk."""
    names = list(summaries)
    rows: list[tuple[str, list[Any]]] = [("milliseconds from exec to", [""] * len(names))]
    longest = max(summaries.values(), key=lambda summary: len(summary["ms"]))["ms"]
    rows += [(name, [summary["ms"].get(name, "") for summary in summaries.values()]) for name in longest]
    labels = {
        "load_ms": "all bytes at the disk's bandwidth",
        "ready_ratio": "ready ÷ that",
        "weights_ratio": "last chunk of weights ÷ that",
        "first_token_ratio": "first token ÷ that",
        "in_flight": "weights' chunks in flight, mean",
        "mb_besides_weights": "MB before ready, besides weights",
    }
    rows += [(label, [summary.get(key, "") for summary in summaries.values()]) for key, label in labels.items()]
    for kind in KINDS:
        told = [summary.get("ready", {}).get(kind) for summary in summaries.values()]
        rows.append((f"  {kind}, MB (chunks)", [f"{a['mb']:.1f} ({a['chunks']})" if a else "" for a in told]))
    rows.append(("processor seconds of the server", [summary["processor_s"] for summary in summaries.values()]))
    rows.append(("processor seconds of the disk", [summary.get("lazydisk_s", "") for summary in summaries.values()]))
    head = f"{'':<38}" + "".join(f"{name:>15}" for name in names)
    return [head, *(f"{label:<38}" + "".join(f"{_text(value):>15}" for value in values) for label, values in rows)]


def file_lines(start: Start, layout: Layout) -> list[str]:
    """What had been fetched when one start was ready, besides weights: a file a line."""
    amounts = by_file(until(start, "ready"), layout).items()
    told = [(path or "(inodes, directories, gaps)", amount) for path, amount in amounts if kind_of(path) != "weights"]
    return [f"{amount.nbytes / MEGA:7.1f} MB {amount.chunks:4} chunks  {path}" for path, amount in told]


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str("" if value is None else value)
