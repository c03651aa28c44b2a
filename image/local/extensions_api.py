"""The Extensions API, 2020-01-01: register, event/next, init/error, exit/error.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html
"""

from __future__ import annotations

import asyncio
import json

from image.local.errors import ExtensionFailed
from image.local.exchange import Exchange, Extension
from image.local.limits import ACCOUNT, EXTENSIONS, REQUEST_BYTES
from image.local.runtime_api import ACCEPTED, NO_SUCH_PATH, refusal
from image.local.wire import Answer, Request

PREFIX = "/2020-01-01/extension/"
TELEMETRY = ("/2022-07-01/telemetry", "/2020-08-15/logs")
ID, NAME = "lambda-extension-identifier", "lambda-extension-name"
ERROR_TYPE = "lambda-extension-function-error-type"


class ExtensionsApi:
    """Answers one environment's extensions.

    Args:
        exchange: The environment's side.
        function: The function's name.
        version: The version of it that runs.
    """

    def __init__(self, exchange: Exchange, function: str, version: str) -> None:
        self._exchange = exchange
        self._function = function
        self._version = version

    async def answer(self, request: Request) -> Answer:
        """Answer a request below `PREFIX` or `TELEMETRY`."""
        what = (request.method, request.path.removeprefix(PREFIX))
        if request.path in TELEMETRY:
            await request.body(REQUEST_BYTES)
            return Answer.json(202, {"errorType": "Telemetry.NotSupported", "errorMessage": "not supported here"})
        if what == ("POST", "register"):
            return await self._register(request)
        if what not in (("GET", "event/next"), ("POST", "init/error"), ("POST", "exit/error")):
            return NO_SUCH_PATH
        if ID not in request.headers:
            return refusal(403, "Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header")
        extension = self._exchange.extensions.get(request.headers[ID])
        if extension is None:
            return refusal(403, "Extension.UnknownExtensionIdentifier", f"Unknown extension {request.headers[ID]}")
        if what[1] == "event/next":
            return await self._next(extension)
        return await self._error(request, extension, "Init" if what[1] == "init/error" else "Exit")

    async def _register(self, request: Request) -> Answer:
        body = await request.body(REQUEST_BYTES)
        name = request.headers.get(NAME, "")
        external = name in self._exchange.launched
        allowed = {"INVOKE", "SHUTDOWN"} if external else {"INVOKE"}
        if not name:
            return refusal(403, "Extension.InvalidExtensionName", "Empty extension name")
        try:
            events = json.loads(body).get("events", [])
        except (ValueError, AttributeError) as error:
            return refusal(403, "InvalidRequestFormat", f"the body is not a JSON object: {error}")
        if not isinstance(events, list) or not {str(event) for event in events} <= allowed:
            return refusal(403, "Extension.InvalidEventType", f"{events}: an extension here may have {sorted(allowed)}")
        if not self._exchange.registration_open:
            return refusal(403, "Extension.RegistrationClosed", "Extension registration closed already")
        if any(name == extension.name for extension in self._exchange.extensions.values()):
            return refusal(403, "Extension.InvalidExtensionState", "Extension with this name already registered")
        if len(self._exchange.extensions) >= EXTENSIONS:
            return refusal(403, "Extension.TooManyExtensions", f"Extension limit ({EXTENSIONS}) reached")
        extension = Extension(name, frozenset(events), external)
        self._exchange.register(extension)
        described = {"functionName": self._function, "functionVersion": self._version, "handler": ""}
        if "accountId" in request.headers.get("lambda-extension-accept-feature", ""):
            described["accountId"] = ACCOUNT
        return Answer.json(200, described, Lambda_Extension_Identifier=extension.id)

    async def _next(self, extension: Extension) -> Answer:
        try:
            event = await self._exchange.next_event(extension)
        except asyncio.CancelledError:
            # Its connection broke while it waited: whoever was there is not there any more.
            self._exchange.fail(_crash(extension))
            raise
        return Answer.json(200, event, Lambda_Extension_Event_Identifier=extension.id)

    async def _error(self, request: Request, extension: Extension, phase: str) -> Answer:
        body = await request.body(REQUEST_BYTES)
        if ERROR_TYPE not in request.headers:
            return refusal(403, "Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found")
        kind = request.headers[ERROR_TYPE]
        self._exchange.fail(
            ExtensionFailed(
                f"Extension.{phase}Error", f"{extension.name}: {kind} {body[:500].decode(errors='replace')}"
            )
        )
        return ACCEPTED


def _crash(extension: Extension) -> ExtensionFailed:
    return ExtensionFailed("Extension.Crash", f"{extension.name} ended or closed its connection")
