"""The environment variables that Lambda sets."""

from __future__ import annotations

from collections.abc import Mapping

from image.local.limits import LATEST
from image.local.settings import Settings

TASK_ROOT = "/var/task"


def function_variables(
    settings: Settings, version: str, runtime_api: str, log_stream: str, task_root: str
) -> dict[str, str]:
    """Return what Lambda sets, with the function's own variables over it.

    Args:
        settings: The function.
        version: The version of it that runs.
        runtime_api: Host and port of the Runtime API.
        log_stream: The environment's log stream.
        task_root: Where the code is; /var/task in Lambda.
    """
    snapshot = settings.snapstart and version != LATEST
    stream = {"AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{settings.name}", "AWS_LAMBDA_LOG_STREAM_NAME": log_stream}
    return {
        "AWS_REGION": settings.region,
        "AWS_DEFAULT_REGION": settings.region,
        "AWS_LAMBDA_FUNCTION_NAME": settings.name,
        "AWS_LAMBDA_FUNCTION_VERSION": version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(settings.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start" if snapshot else "on-demand",
        # A snapshot's environments have log streams of their own, so none has its name.
        **({} if snapshot else stream),
        "AWS_LAMBDA_RUNTIME_API": runtime_api,
        "LAMBDA_TASK_ROOT": task_root,
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "TZ": ":UTC",
        # Credentials that open nothing; a test's S3 takes any.
        "AWS_ACCESS_KEY_ID": settings.access_key,
        "AWS_SECRET_ACCESS_KEY": settings.secret_key,
        "AWS_SESSION_TOKEN": "local",
        # Nobody listens there: as in a function without tracing, what is sent is lost.
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
        "_AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1",
        "_AWS_XRAY_DAEMON_PORT": "2000",
        **settings.variables,
    }


def process_variables(environ: Mapping[str, str], function: Mapping[str, str]) -> dict[str, str]:
    """Return a plain process's environment: ours without anything of AWS, and the function's over it."""
    ours = {
        key: value for key, value in environ.items() if not key.startswith(("AWS_", "_AWS_", "_X_AMZN_", "LAMBDA_"))
    }
    return {**ours, **function}
