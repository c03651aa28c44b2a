"""Errors in Anthropic's form.

https://docs.anthropic.com/en/api/errors
"""

from __future__ import annotations

from typing import Any

from handler.errors import ApiError, ThreadsUnsupported

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def told_error(error: ApiError) -> dict[str, Any]:
    """Return the body of an error; the request's id is for who knows it."""
    kind = TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    told: dict[str, Any] = {"type": kind, "message": error.message}
    if isinstance(error, ThreadsUnsupported):
        told["details"] = {"error_code": error.code}
    return {"type": "error", "error": told, "request_id": None}
