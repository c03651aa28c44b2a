"""Calls from pages of other origins: Starlette's middleware, with refusals that can be read."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from handler.api.events import json_bytes
from handler.errors import ApiError, MethodNotShared, OriginRefused

METHODS = ("GET", "POST")
READABLE = ("x-request-id", "retry-after", "x-should-retry")
PREFLIGHT_S = 7200  # for how long a browser may remember a preflight; Chromium takes no more


class Cors(CORSMiddleware):
    """Lets pages of some origins call.

    Args:
        app: What they call.
        origins: Theirs; `*` alone for all.
    """

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=["*"],  # Clients send a dozen of their own.
            allow_private_network=True,  # Who lists an origin lets it call, wherever the server is.
            expose_headers=READABLE,
            max_age=PREFLIGHT_S,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a preflight; a refused one says why, for who looks into the browser's tools."""
        answer = super().preflight_response(request_headers)
        if answer.status_code == 200:
            return answer
        origin, method = request_headers["origin"], request_headers["access-control-request-method"]
        known = self.is_allowed_origin(origin)
        error: ApiError = MethodNotShared(method, METHODS) if known else OriginRefused(origin)
        shared = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
        return Response(json_bytes(error.body()), error.status, {**shared, **error.headers}, "application/json")
