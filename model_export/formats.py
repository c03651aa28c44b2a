"""How the model writes calls and thoughts, told by its chat template: the handler, which reads them, has the table.

It runs in a process of its own; nothing of it is imported here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from model_export.errors import FormatsFailed

ROOT = Path(__file__).parent.parent
COMMAND = (sys.executable, "-m", "handler.text.families")
UNKNOWN: Mapping[str, str | None] = {"tool_format": None, "reasoning_format": None}


def chat_formats(template: str | None) -> Mapping[str, str | None]:
    """Say how a model writes calls and thoughts.

    Args:
        template: its chat template; None for a base model, which writes neither.

    Returns:
        `tool_format` and `reasoning_format` as firebrick.json has them.

    Raises:
        FormatsFailed: the handler's process failed.
    """
    if template is None:
        return UNKNOWN
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environ = {**os.environ, "PYTHONPATH": path, "PYTHONUTF8": "1"}
    done = subprocess.run(COMMAND, input=template, env=environ, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise FormatsFailed(f"the chat template's formats can't be told: {said}")
    told: dict[str, str | None] = json.loads(done.stdout)
    return told
