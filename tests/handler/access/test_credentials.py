from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from handler.access.credentials import find_credentials
from handler.access.signature import Credentials
from handler.errors import CredentialsUnavailable

GIVEN = {"AccessKeyId": "id", "SecretAccessKey": "geheim", "Token": "token", "Expiration": "2030-01-01T00:00:00Z"}


@contextmanager
def container(body: bytes = json.dumps(GIVEN).encode(), status: int = 200) -> Iterator[tuple[str, list[str | None]]]:
    """What Lambda with SnapStart, ECS and EKS have behind an address; gives it, and who asked."""
    asked: list[str | None] = []

    class Requests(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Authorization"])
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Requests) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/role", asked
        server.shutdown()
        thread.join()


def test_lambdas_own_are_in_the_environment() -> None:
    environ = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "geheim", "AWS_SESSION_TOKEN": "token"}
    assert find_credentials(environ) == Credentials("id", "geheim", "token")
    assert find_credentials(environ | {"AWS_SESSION_TOKEN": ""}) == Credentials("id", "geheim")


def test_with_snapstart_they_are_behind_an_address() -> None:
    with container() as (url, asked):
        environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": url, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "mine"}
        assert find_credentials(environ) == Credentials("id", "geheim", "token")
    assert asked == ["mine"]


def test_the_token_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("mine\n")
    with container() as (url, asked):
        file = str(tmp_path / "token")
        find_credentials({"AWS_CONTAINER_CREDENTIALS_FULL_URI": url, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": file})
    assert asked == ["mine"]


@pytest.mark.parametrize(("body", "status"), [(b"{", 200), (b"[]", 200), (b"{}", 200), (b"null", 200), (b"{}", 403)])
def test_an_address_that_gives_none_is_named(body: bytes, status: int) -> None:
    with container(body, status) as (url, _), pytest.raises(CredentialsUnavailable, match=url):
        find_credentials({"AWS_CONTAINER_CREDENTIALS_FULL_URI": url})


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "https://x", "nonsense", "http://[", "http://x:port/"])
def test_an_address_that_is_none_is_named(url: str) -> None:
    with pytest.raises(CredentialsUnavailable) as caught:
        find_credentials({"AWS_CONTAINER_CREDENTIALS_FULL_URI": url})
    assert url in str(caught.value)


@pytest.mark.parametrize("environ", [{}, {"AWS_ACCESS_KEY_ID": "id"}, {"AWS_SECRET_ACCESS_KEY": "geheim"}])
def test_without_any_the_variables_are_named(environ: dict[str, str]) -> None:
    with pytest.raises(CredentialsUnavailable, match="AWS_ACCESS_KEY_ID") as caught:
        find_credentials(environ)
    assert "geheim" not in str(caught.value)
