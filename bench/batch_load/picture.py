"""Results over time, with and without faults, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from bench.batch_load.running import Outcome

SIZE = (8.0, 4.5)  # inches
DPI = 110
COLORS = ("#7a7a7a", "#c2410c")


def draw(outcomes: Mapping[str, Outcome], documents: int, path: Path) -> None:
    """Write a line of results for each run, and the moments of its faults.

    Args:
        outcomes: by the runs' names.
        documents: of each run.
        path: of the picture; its suffix says the format.
    """
    with matplotlib.rc_context({"svg.hashsalt": "firebrick"}):
        figure = Figure(SIZE, dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        for (name, outcome), color in zip(outcomes.items(), COLORS, strict=False):
            at = [sample.at_s for sample in outcome.samples]
            axes.plot(at, [sample.results for sample in outcome.samples], color=color, label=f"results, {name}")
            axes.plot(
                at, [sample.dead for sample in outcome.samples], color=color, linestyle=":", label=f"given up, {name}"
            )
            for moments, height, marker, told in (
                (outcome.killed_at_s, 0.05, "x", "a worker killed"),
                (outcome.throttled_at_s, 0.02, "|", "a batch throttled"),
            ):
                if moments:
                    axes.plot(moments, [height * documents] * len(moments), marker, color=color, label=told)
        axes.set_xlabel("seconds")
        axes.set_ylabel(f"of {documents:,} documents")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, alpha=0.25)
        axes.legend(fontsize="small")
        figure.savefig(path, metadata={"Software": None} if path.suffix == ".png" else None)
