"""Bits per weight against divergence, as a picture; `bench.quality --plot` calls it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

SIZE = (7.0, 4.5)  # inches
DPI = 110
MARKERS = "os^Dvph*X<>"


def draw(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Write one point an artefact, with its interval; the float model, which has no divergence, is left out.

    Args:
        results: from `bench.quality.measure`, by name.
        path: of the picture; its suffix says the format.
    """
    with matplotlib.rc_context({"svg.hashsalt": "firebrick"}):
        figure = Figure(SIZE, dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        for number, (name, row) in enumerate(item for item in results.items() if item[0] != "float"):
            low, high = row["kl_mean_ci"]
            axes.errorbar(
                [row["bits_per_weight_f16_scales"]],
                [row["kl_mean"]],
                yerr=[[row["kl_mean"] - low], [high - row["kl_mean"]]],
                fmt=MARKERS[number % len(MARKERS)],
                capsize=3,
                label=Path(name).name,
            )
        axes.set_yscale("log")
        axes.set_xlabel("bits per weight, scales in f16 included")
        axes.set_ylabel("mean KL divergence from the float model (nats)")
        axes.grid(visible=True, which="both", alpha=0.25)
        axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.savefig(path, metadata={"Software": None} if path.suffix == ".png" else None)
