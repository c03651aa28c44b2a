"""A function as `bench.baselines` starts them, without a model: it counts on."""

from __future__ import annotations

import time
from typing import Any

TOKEN_S = 0.02


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Continue `ids` by the numbers that follow."""
    time.sleep(TOKEN_S * event["max_tokens"])
    return {"ids": [event["ids"][-1] + 1 + number for number in range(event["max_tokens"])]}
