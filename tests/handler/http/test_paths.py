from __future__ import annotations

import pytest

from handler.http.paths import Paths
from tests.handler.doubles import serving
from tests.handler.http.test_app import CHAT, QUESTION, logged
from tests.handler.http.test_connections import answer, connect, everything

PATHS = Paths(["/", "/health", "/v1/models", "/v1/models/{model:path}", "/v1/chat/completions", "/tokenize"])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions/", "/v1/chat/completions"),
        ("//v1//chat/completions", "/v1/chat/completions"),
        ("/chat/completions", "/v1/chat/completions"),
        ("/v1/v1/chat/completions", "/v1/chat/completions"),
        ("/models/", "/v1/models"),
        ("/models/owner/bytes", "/v1/models/owner/bytes"),
        ("/v1/models/", "/v1/models"),
        ("/v1/models/owner//bytes", "/v1/models/owner//bytes"),
        ("/health/", "/health"),
        ("/v1/health", "/health"),
        ("/v1/tokenize", "/tokenize"),
        ("/", "/"),
        ("//", "/"),
        ("/v1", "/v1"),
        ("/v1/", "/v1/"),
        ("http://host", "/"),
        ("http://host:8080/v1/models", "/v1/models"),
        ("HTTPS://host/chat/completions/", "/v1/chat/completions"),
        ("http://host/nowhere", "/nowhere"),
        ("/nowhere/", "/nowhere/"),
        ("*", "*"),
    ],
)
def test_a_path_is_found_however_it_is_written(written: str, meant: str) -> None:
    assert PATHS.meant(written) == meant


@pytest.mark.parametrize("path", [CHAT + "/", "/chat/completions", "/" + CHAT])
def test_a_request_is_answered_there_without_a_redirect(path: str) -> None:
    with serving(api_key="secret") as server:
        url = str(server.client.base_url).rstrip("/") + path
        assert server.client.post(url, json=QUESTION).status_code == 401
        assert server.client.post(url, json=QUESTION, headers={"x-api-key": "secret"}).status_code == 200
    assert [line["path"] for line in logged(server)] == [CHAT, CHAT]


def test_a_whole_address_is_a_target_too() -> None:
    with serving() as server, connect(server) as connection:
        connection.sendall(b"GET http://elsewhere/v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert answer(everything(connection))[0] == 200


def test_an_unknown_path_is_told_as_it_was_written() -> None:
    with serving() as server:
        message = server.client.get("/a%23b", headers={"host": "x/y"}).json()["error"]["message"]
    assert message == "no such path: '/a#b'; GET /openapi.json lists all"
