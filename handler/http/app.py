"""The routes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from handler.access.keys import Keys
from handler.api.chat import CHAT
from handler.api.completions import COMPLETIONS
from handler.api.embeddings import EMBEDDINGS
from handler.api.endpoint import Calculation
from handler.api.events import json_bytes
from handler.api.messages.endpoint import MESSAGE_COUNT, MESSAGES
from handler.api.options import ANY_NAME
from handler.api.responses.endpoint import RESPONSE_COUNT, RESPONSES
from handler.api.tokens import APPLY_TEMPLATE, DETOKENIZE, TOKENIZE
from handler.errors import ModelNotFound, NothingStored, ShuttingDown
from handler.http.answers import Answers
from handler.http.calculations import Calculated
from handler.http.gate import PAGE, Gate, raise_api_error
from handler.http.limits import Limits
from handler.http.paths import Paths
from handler.logs import Log
from handler.metrics import Metrics
from handler.model import Model
from handler.scheduler import Scheduler
from handler.settings import Settings
from handler.text.deltas import Delta

if TYPE_CHECKING:
    from handler.http.hooks import Hooks  # Most servers have none.
    from handler.http.page import Page  # Start-up doesn't need it.

ENDPOINTS = (CHAT, COMPLETIONS, RESPONSES, MESSAGES, EMBEDDINGS)
CALCULATIONS: tuple[Calculation, ...] = (RESPONSE_COUNT, MESSAGE_COUNT, TOKENIZE, DETOKENIZE, APPLY_TEMPLATE)


def create_app(
    model: Model,
    scheduler: Scheduler[Delta],
    settings: Settings,
    log: Log,
    keys: Keys,
    metrics: Metrics | None = None,
    hooks: Hooks | None = None,
) -> Starlette:
    """Make the ASGI application.

    Args:
        model: A loaded model that can make a token.
        scheduler: The queue in front of it.
        settings: The limits.
        log: One line a request.
        keys: Who may ask.
        metrics: Counts requests; None where nobody would read it.
        hooks: SnapStart's; None without.
    """
    text_thread = ThreadPoolExecutor(1, "text")
    limits = Limits(settings.max_body, settings.max_response, settings.idle_s, settings.heartbeat_s)
    answers = {endpoint.path: Answers(model, scheduler, endpoint, text_thread, log, limits) for endpoint in ENDPOINTS}
    calculated = {one.path: Calculated(model, one, text_thread, limits) for one in CALCULATIONS}
    routes = [
        Route("/health", _health(scheduler), methods=["GET"]),
        Route("/openapi.json", _openapi(model), methods=["GET"]),
        Route("/v1/models", _models(model), methods=["GET"]),
        Route("/v1/models/{model:path}", _model(model), methods=["GET"]),
        *(Route(path, answer, methods=["POST"]) for path, answer in (answers | calculated).items()),
        Route("/v1/responses/{id:path}", _stored_response, methods=["GET", "POST", "DELETE"]),
        *([Route(PAGE, _page(settings), methods=["GET"])] if settings.page else []),
    ]
    refusals = {endpoint.path: endpoint.refusal for endpoint in ENDPOINTS}
    refusals |= {calculation.path: calculation.refusal for calculation in CALCULATIONS}
    # Outside of Lambda nobody overrides what a client writes into the adapter's headers.
    margin_s = settings.deadline_margin_ms / 1e3 if settings.function_name else None
    gate = Middleware(
        Gate,
        log=log,
        keys=keys,
        paths=Paths(route.path for route in routes),
        margin_s=margin_s,
        metrics=metrics,
        refusals=refusals,
        page=settings.page,
        hooks=hooks,
    )
    app = Starlette(
        routes=routes,
        middleware=[*_cors(settings.cors_origins), gate],
        exception_handlers={HTTPException: raise_api_error},
    )
    app.router.redirect_slashes = False
    return app


def _cors(origins: tuple[str, ...]) -> list[Middleware]:
    """What lets pages of these origins call; before the gate, since a browser asks without the key."""
    if not origins:
        return []
    from handler.http.cors import Cors  # Most servers don't need it.

    return [Middleware(Cors, origins=origins)]


def _json(value: object) -> Response:
    return Response(json_bytes(value), media_type="application/json")


def _health(scheduler: Scheduler[Delta]) -> Callable[[Request], object]:
    async def health(request: Request) -> Response:
        if scheduler.draining:
            raise ShuttingDown()
        return _json({"status": "ok"})

    return health


def _page(settings: Settings) -> Callable[[Request], object]:
    @cache
    def read() -> Page:
        from handler.http.page import read_page  # Start-up doesn't need it.

        return read_page(settings.function_memory_mb, settings.region)

    async def page(request: Request) -> Response:
        return read().answer(request)

    return page


def _openapi(model: Model) -> Callable[[Request], object]:
    async def openapi(request: Request) -> Response:
        from handler.http.openapi import describe  # Start-up doesn't need it.

        return _json(describe(ENDPOINTS, CALCULATIONS, model.served))

    return openapi


def _models(model: Model) -> Callable[[Request], object]:
    async def models(request: Request) -> Response:
        names = (model.served.model_id, *(name for name in model.served.aliases if name != ANY_NAME))
        return _json({"object": "list", "data": [_card(model, name) for name in dict.fromkeys(names)]})

    return models


def _model(model: Model) -> Callable[[Request], object]:
    async def one_model(request: Request) -> Response:
        name = request.path_params["model"]
        if not model.served.accepts(name):
            raise ModelNotFound(name, model.served.model_id)
        return _json(_card(model, name if name in model.served.aliases else model.served.model_id))

    return one_model


async def _stored_response(request: Request) -> Response:
    raise NothingStored(request.path_params["id"].partition("/")[0])


def _card(model: Model, name: str) -> dict[str, object]:
    return {
        "id": name,
        "object": "model",
        "created": model.created,
        "owned_by": "firebrick",
        "root": model.served.model_id,
        "context_length": model.context_length,
    }
