"""What AWS charges, by region: read from `prices.json`, the only place where a price stands."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("prices.json")
FALLBACK = "us-east-1"  # where a price has to be shown and there is no region
# What the kernel calls the architectures, by Lambda's names.
ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
ON_DEMAND, PROVISIONED, SNAP_START = "on-demand", "provisioned-concurrency", "snap-start"


@dataclass(frozen=True)
class Rates:
    """What a Lambda function of one region and architecture costs while it runs.

    Attributes:
        gb_second: US dollars for a GB of memory and a second of duration.
        request: US dollars for an invocation.
        restored_gb: US dollars for a GB of a snapshot that an environment begins from; 0 where it begins from none.
    """

    gb_second: float
    request: float
    restored_gb: float = 0.0


def read_regions(path: Path = FILE) -> Mapping[str, Any]:
    """Read the prices by region; `prices.json` says what each one is for."""
    regions: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))["regions"]
    return regions


def lambda_rates(region: str | None, machine: str | None = None, initialization: str = ON_DEMAND) -> Rates | None:
    """Look up what a function costs while it runs.

    Args:
        region: For example us-east-1.
        machine: Its architecture as the kernel calls it; this machine's if there is none.
        initialization: AWS_LAMBDA_INITIALIZATION_TYPE of the environment.

    Returns:
        None for what the file doesn't have: another region, another architecture, another kind of environment.
    """
    prices = read_regions().get(region or "", {}).get("lambda", {})
    durations = prices.get(ARCHITECTURES.get(machine or os.uname().machine, ""))
    if durations is None or initialization not in (ON_DEMAND, PROVISIONED, SNAP_START):
        return None
    duration = "provisioned_duration_gb_second" if initialization == PROVISIONED else "gb_second"
    restored = prices["snap_start"]["restored_gb"] if initialization == SNAP_START else 0.0
    return Rates(durations[duration], prices["request"], restored)
