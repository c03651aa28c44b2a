"""How much a model is to think, as variables of its chat template."""

from __future__ import annotations

from typing import Any

from handler.errors import InvalidValue

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def effort_variables(effort: str | None, param: str) -> dict[str, Any]:
    """Return the template's variables for an effort: what gpt-oss's templates read, and what Qwen3's do.

    Raises:
        InvalidValue: There is no such effort.
    """
    if effort is None:
        return {}
    if effort not in EFFORTS:
        raise InvalidValue(param, f"one of {', '.join(EFFORTS)}", effort)
    return {"reasoning_effort": effort, **({"enable_thinking": False} if effort == "none" else {})}
