"""A function for awslambdaric that does what its event says."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from tests.image.local.batches import handle_batch

if (marker := os.environ.get("FAIL_ONCE")) and not Path(marker).exists():  # an init that fails at the first start only
    Path(marker).touch()
    raise RuntimeError("not yet")
if os.environ.get("FAIL_ALWAYS"):
    raise RuntimeError("never")


def handle(event: dict[str, Any], context: Any) -> Any:
    """Do one thing; the body of an HTTP event says which, if it is JSON. Messages of a queue have a module."""
    if "Records" in event:
        return handle_batch(event["Records"])
    if str(event.get("body")).startswith("{"):
        event = json.loads(event["body"])
    what = event.get("do", "echo")
    return globals()["do_" + what](event, context)


def do_echo(event: dict[str, Any], context: Any) -> Any:
    """Return the event, and who answers."""
    print("echoing", event)
    return {"event": event, "pid": os.getpid(), "request_id": context.aws_request_id}


def do_environment(event: dict[str, Any], context: Any) -> Any:
    """Return the environment variables."""
    return dict(os.environ)


def do_context(event: dict[str, Any], context: Any) -> Any:
    """Return what the context says."""
    return {
        "remaining_ms": context.get_remaining_time_in_millis(),
        "arn": context.invoked_function_arn,
        "version": context.function_version,
        "memory": context.memory_limit_in_mb,
        "custom": context.client_context.custom if context.client_context else None,
    }


def do_raise(event: dict[str, Any], context: Any) -> Any:
    """Fail."""
    raise ValueError(event["message"])


def do_exit(event: dict[str, Any], context: Any) -> Any:
    """End the process."""
    sys.stdout.flush()
    os._exit(event["code"])


def do_large(event: dict[str, Any], context: Any) -> Any:
    """Return a long string."""
    return "x" * event["size"]


def do_touch(event: dict[str, Any], context: Any) -> Any:
    """Leave a file."""
    Path(event["path"]).touch()


def do_wait(event: dict[str, Any], context: Any) -> Any:
    """Say that we are here, and wait until somebody else is."""
    Path(event["here"]).touch()
    while not Path(event["there"]).exists():
        time.sleep(0.01)
    return os.getpid()


def do_response(event: dict[str, Any], context: Any) -> Any:
    """Return a response as it stands in the event."""
    return event["response"]
