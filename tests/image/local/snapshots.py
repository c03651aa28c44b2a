"""A function with SnapStart's hooks, by AWS's own library."""

from __future__ import annotations

import http.client
import json
import os
from typing import Any

from snapshot_restore_py import register_after_restore, register_before_snapshot

TOLD: list[Any] = [os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]]


def _hook(name: str) -> None:
    print(name, flush=True)
    TOLD.append(name)
    if os.environ.get("FAILING_HOOK") == name:
        raise RuntimeError(f"{name} failed")


register_before_snapshot(_hook, "before")
register_after_restore(_hook, "after")

if os.environ.get("ASK_FOR_RESTORE"):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request("GET", "/2018-06-01/runtime/restore/next")
    answer = connection.getresponse()
    TOLD = [answer.status, json.loads(answer.read())["errorType"]]
    connection.close()


def handle(event: Any, context: Any) -> Any:
    """Return what has happened."""
    return TOLD
