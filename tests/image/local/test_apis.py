"""What the Runtime and the Extensions API refuse, and in which form."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from image.local.errors import ExtensionFailed, InitReported
from image.local.exchange import Exchange
from image.local.extensions_api import ExtensionsApi
from image.local.invocation import Call, Invocation
from image.local.network import host_network
from image.local.runtime_api import RuntimeApi
from image.local.wire import Answer, Request, WireServer

RUNTIME, EXTENSION = "/2018-06-01/runtime/", "/2020-01-01/extension/"
Scenario = Callable[[httpx.AsyncClient, Exchange], Awaitable[httpx.Response]]


def run(scenario: Scenario, prepare: Callable[[Exchange], None] = lambda exchange: None) -> tuple[int, str, Exchange]:
    """Run a scenario against both APIs; return status and error type of its answer, and the environment's side."""

    async def served() -> tuple[int, str, Exchange]:
        exchange = Exchange()
        exchange.launched = ["watcher"]
        prepare(exchange)
        runtime, extensions = RuntimeApi(exchange, "arn"), ExtensionsApi(exchange, "firebrick", "$LATEST")

        async def answer(request: Request) -> Answer:
            return await (runtime if request.path.startswith(RUNTIME) else extensions).answer(request)

        network = host_network()
        server = WireServer(network.listening, answer)
        await server.start()
        async with httpx.AsyncClient(base_url=f"http://{network.address}") as client:
            response = await scenario(client, exchange)
        await server.close()
        return response.status_code, response.json().get("errorType", ""), exchange

    return asyncio.run(served())


def in_flight(exchange: Exchange) -> None:
    exchange.invocation = Invocation(Call(b"{}", request_id="mine"))


@pytest.mark.parametrize(
    ("method", "path", "headers", "refusal"),
    [
        ("GET", RUNTIME + "nothing", {}, (404, "NotFound")),
        ("POST", RUNTIME + "invocation/other/response", {}, (400, "InvalidRequestID")),
        ("GET", RUNTIME + "invocation/next", {}, (403, "InvalidStateTransition")),
        (
            "POST",
            RUNTIME + "invocation/mine/response",
            {"Lambda-Runtime-Function-Response-Mode": "other"},
            (400, "InvalidFunctionResponseMode"),
        ),
        ("POST", EXTENSION + "nothing", {}, (404, "NotFound")),
        ("POST", EXTENSION + "register", {}, (403, "Extension.InvalidExtensionName")),
        ("POST", EXTENSION + "register", {"Lambda-Extension-Name": "x"}, (403, "InvalidRequestFormat")),
        ("GET", EXTENSION + "event/next", {}, (403, "Extension.MissingExtensionIdentifier")),
        (
            "GET",
            EXTENSION + "event/next",
            {"Lambda-Extension-Identifier": "x"},
            (403, "Extension.UnknownExtensionIdentifier"),
        ),
    ],
)
def test_refusals(method: str, path: str, headers: dict[str, str], refusal: tuple[int, str]) -> None:
    status, error_type, _ = run(lambda client, _: client.request(method, path, headers=headers), in_flight)
    assert (status, error_type) == refusal


def test_a_second_response() -> None:
    async def scenario(client: httpx.AsyncClient, exchange: Exchange) -> httpx.Response:
        first = await client.post(RUNTIME + "invocation/mine/response", content=b"1")
        assert first.status_code == 202
        return await client.post(RUNTIME + "invocation/mine/response", content=b"2")

    assert run(scenario, in_flight)[:2] == (403, "InvalidStateTransition")


@pytest.mark.parametrize(
    ("name", "events", "refusal"),
    [
        ("watcher", '{"events": ["INVOKE", "SHUTDOWN"]}', (200, "")),
        ("inner", '{"events": ["INVOKE"]}', (200, "")),
        ("inner", '{"events": ["SHUTDOWN"]}', (403, "Extension.InvalidEventType")),
        ("watcher", '{"events": ["OTHER"]}', (403, "Extension.InvalidEventType")),
        ("watcher", '{"events": "INVOKE"}', (403, "Extension.InvalidEventType")),
    ],
)
def test_events_that_an_extension_may_have(name: str, events: str, refusal: tuple[int, str]) -> None:
    headers = {"Lambda-Extension-Name": name}
    answer = run(lambda client, _: client.post(EXTENSION + "register", content=events, headers=headers))
    assert answer[:2] == refusal


def registering(*names: str) -> Scenario:
    async def scenario(client: httpx.AsyncClient, exchange: Exchange) -> httpx.Response:
        for name in names:
            headers = {"Lambda-Extension-Name": name}
            response = await client.post(EXTENSION + "register", json={"events": []}, headers=headers)
        return response

    return scenario


def test_a_name_that_is_taken() -> None:
    assert run(registering("watcher", "watcher"))[:2] == (403, "Extension.InvalidExtensionState")


def test_too_many_extensions() -> None:
    assert run(registering(*map(str, range(11))))[:2] == (403, "Extension.TooManyExtensions")


def test_a_registration_that_comes_too_late() -> None:
    def close(exchange: Exchange) -> None:
        exchange.registration_open = False

    assert run(registering("watcher"), close)[:2] == (403, "Extension.RegistrationClosed")


def test_an_extension_that_reports_its_own_error() -> None:
    async def scenario(client: httpx.AsyncClient, exchange: Exchange) -> httpx.Response:
        registered = await registering("watcher")(client, exchange)
        headers = {
            "Lambda-Extension-Identifier": registered.headers["lambda-extension-identifier"],
            "Lambda-Extension-Function-Error-Type": "Extension.Mine",
        }
        return await client.post(EXTENSION + "init/error", headers=headers)

    status, _, exchange = run(scenario)
    assert status == 202
    assert isinstance(exchange.failed.result(), ExtensionFailed)
    assert exchange.failed.result().type == "Extension.InitError"


@pytest.mark.parametrize("body", [b"", b"[]", b'{"errorType": "Mine", "errorMessage": "no"}'])
def test_an_init_error_with_and_without_a_body(body: bytes) -> None:
    headers = {"Lambda-Runtime-Function-Error-Type": "Mine"}
    _, _, exchange = run(lambda client, _: client.post(RUNTIME + "init/error", content=body, headers=headers))
    assert isinstance(exchange.failed.result(), InitReported)
    assert exchange.failed.result().type == "Mine"
