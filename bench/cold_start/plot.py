"""A start over time, as a picture: what has arrived, against what the disk could have given; and how many at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from bench.cold_start.extents import KINDS, Layout
from bench.cold_start.fetches import in_flight_over_time
from bench.cold_start.profiles import CHUNK, PROFILES
from bench.cold_start.start import Start

WIDTH, HEIGHT = 9.0, 3.6  # inches; the height of one start
DPI = 110
COLOURS = {"libraries": "#d98c3f", "byte code": "#c2504d", "other": "#8d8d8d", "weights": "#4b7fb5"}
ORDER = ("libraries", "byte code", "other", "weights")
SHOWN = ("first line of Python", "all imported", "ready", "first token")
SUFFIXES = (".png", ".svg")


def draw(starts: Mapping[str, Start], layout: Layout, title: str, path: Path) -> None:
    """Write two panels a start: megabytes by kind, and chunks in flight.

    Args:
        starts: by the name of the disk; those without fetches are left out.
        layout: of the image.
        title: of the whole.
        path: of the picture; its suffix says the format.
    """
    drawn = {name: start for name, start in starts.items() if start.fetches}
    if not drawn:
        return
    with matplotlib.rc_context({"svg.hashsalt": "firebrick"}):
        figure = Figure((WIDTH, HEIGHT * len(drawn)), dpi=DPI, layout="constrained")
        figure.suptitle(title)
        ratios = [3, 1] * len(drawn)
        panels = figure.subplots(2 * len(drawn), 1, height_ratios=ratios, squeeze=False)[:, 0]
        for number, (name, start) in enumerate(drawn.items()):
            _bytes(panels[2 * number], name, start, layout)
            _in_flight(panels[2 * number + 1], start)
            panels[2 * number + 1].set_xlim(panels[2 * number].get_xlim())
        figure.savefig(path, metadata={"Software": None} if path.suffix == ".png" else None)


def _bytes(axes: Any, name: str, start: Start, layout: Layout) -> None:
    arrived = sorted(start.fetches, key=lambda fetch: fetch.end)
    times = [0.0]
    sums = {kind: [0.0] for kind in KINDS}
    for fetch in arrived:
        times.append((fetch.end - start.exec_ns) / 1e9)
        for kind in KINDS:
            sums[kind].append(sums[kind][-1] + (CHUNK / 1e6 if layout.kind_at(fetch.offset) == kind else 0))
    end = max(times[-1], *(ms / 1e3 for ms in start.ms.values()))
    times.append(end)
    for values in sums.values():
        values.append(values[-1])
    axes.stackplot(times, *(sums[k] for k in ORDER), labels=ORDER, colors=[COLOURS[k] for k in ORDER], step="post")
    total = sum(values[-1] for values in sums.values())
    profile = PROFILES[name]
    seconds = profile.seconds(round(total * 1e6))
    if seconds:
        axes.plot([0, seconds], [0, total], "k--", linewidth=1, label=f"the disk's {profile.gb_per_s:g} GB/s")
    shown = [item for item in start.ms.items() if item[0].startswith(SHOWN)]
    for number, (milestone, ms) in enumerate(shown):
        axes.axvline(ms / 1e3, color="black", linewidth=0.8)
        late = ms / 1e3 > end / 2
        axes.annotate(
            f"{milestone}: {ms / 1e3:.2f} s",
            (ms / 1e3, total * (1 - 0.13 * number)),
            textcoords="offset points",
            xytext=(-4 if late else 4, 0),
            ha="right" if late else "left",
            va="top",
            fontsize="x-small",
            bbox={"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
        )
    axes.set_xlim(0, end * 1.02)
    axes.set_ylim(0, total * 1.05)
    axes.set_ylabel("MB that have arrived")
    axes.set_title(f"{name}: {told(name)}", fontsize="medium", loc="left")
    axes.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.tick_params(labelbottom=False)


def told(name: str) -> str:
    """A disk in words."""
    profile = PROFILES[name]
    share = f", {profile.far_permille / 10:g} % after {profile.far_us / 1e3:g} ms" if profile.far_permille else ""
    depth = f", {profile.depth} at a time" if profile.depth else ""
    return f"chunks of 512 KiB after {profile.near_us / 1e3:g} ms{share}, {profile.gb_per_s:g} GB/s{depth}"


def _in_flight(axes: Any, start: Start) -> None:
    steps = in_flight_over_time(start.fetches)
    axes.step(
        [(time - start.exec_ns) / 1e9 for time, _ in steps], [count for _, count in steps], where="post", color="#444"
    )
    axes.set_ylabel("chunks\nin flight")
    axes.set_xlabel("seconds since exec")
    axes.set_ylim(bottom=0)
