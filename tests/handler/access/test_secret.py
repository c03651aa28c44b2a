from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from handler.access.secret import Secret, find_secret, read_secret
from handler.errors import (
    SecretForbidden,
    SecretMissing,
    SecretRefused,
    SecretsUnreachable,
    SecretUnusable,
    SettingsError,
)
from tests.handler.secrets_manager import ADMIN, NAME, SecretsManager

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:name-AbCdEf"


def read(secrets: SecretsManager, id: str = NAME, **environ: str) -> str:
    given = secrets.environ(**environ)
    return read_secret(find_secret(id, given), given)


@pytest.mark.parametrize(
    ("id", "region", "host"),
    [
        ("name", "us-east-1", "secretsmanager.us-east-1.amazonaws.com"),
        ("name", "cn-north-1", "secretsmanager.cn-north-1.amazonaws.com.cn"),
        (ARN, "us-east-1", "secretsmanager.eu-west-1.amazonaws.com"),
        (
            ARN.replace("aws:", "aws-cn:").replace("eu-west", "cn-north"),
            "",
            "secretsmanager.cn-north-1.amazonaws.com.cn",
        ),
    ],
)
def test_a_secret_is_where_its_region_is(id: str, region: str, host: str) -> None:
    assert find_secret(id, {"AWS_REGION": region}) == Secret(id, host.split(".")[1], True, host, None)


def test_its_own_endpoint_wins_over_the_general_one() -> None:
    environ = {"AWS_REGION": "r", "AWS_ENDPOINT_URL": "https://a", "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://b:5/"}
    assert find_secret("name", environ) == Secret("name", "r", False, "b", 5)
    assert find_secret("name", environ | {"AWS_ENDPOINT_URL_SECRETS_MANAGER": ""}) == Secret(
        "name", "r", True, "a", None
    )


@pytest.mark.parametrize(
    "url", ["b:5", "ftp://b", "http://", "http://b:port", "http://b/path", "http://b/?x", "http://["]
)
def test_an_endpoint_that_is_none_is_named(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        find_secret("name", {"AWS_REGION": "r", "AWS_ENDPOINT_URL": url})
    assert f"AWS_ENDPOINT_URL={url!r}" in str(caught.value)


@pytest.mark.parametrize("region", ["", "US east"])
def test_a_name_needs_a_region(region: str) -> None:
    with pytest.raises(SettingsError, match="AWS_REGION"):
        find_secret("name", {"AWS_REGION": region})


def test_it_is_read_by_name_and_by_arn(secrets: SecretsManager) -> None:
    assert read(secrets) == read(secrets, secrets.arn) == "first"


def test_the_signature_is_one_that_moto_accepts(secrets: SecretsManager) -> None:
    assert read(secrets, **secrets.user(allowed=True)) == "first"


def test_a_wrong_signature_is_refused(secrets: SecretsManager) -> None:
    keys = secrets.user(allowed=True) | {"AWS_SECRET_ACCESS_KEY": "wrong"}
    with pytest.raises(SecretForbidden):
        read(secrets, **keys)


def test_a_role_without_the_right_is_told_which(secrets: SecretsManager) -> None:
    with pytest.raises(SecretForbidden, match=r"secretsmanager:GetSecretValue.*kms:Decrypt") as caught:
        read(secrets, **secrets.user(allowed=False))
    assert NAME in str(caught.value)
    assert "us-east-1" in str(caught.value)


def test_a_secret_that_is_not_there_is_named(secrets: SecretsManager) -> None:
    with pytest.raises(SecretMissing, match=r"'other' can't be found in us-east-1"):
        read(secrets, "other")


@pytest.mark.parametrize("window_days", [None, 7])
def test_a_deleted_secret_is_missing(secrets: SecretsManager, window_days: int | None) -> None:
    secrets.delete(window_days)
    with pytest.raises(SecretMissing):
        read(secrets)


def test_a_binary_secret_is_unusable(secrets: SecretsManager) -> None:
    secrets.put_binary(b"geheim")
    with pytest.raises(SecretUnusable) as caught:
        read(secrets)
    assert "geheim" not in str(caught.value)


# ---------------------------------------------------------------- an endpoint that fails


@contextmanager
def endpoint(*answers: tuple[int, Any]) -> Iterator[tuple[dict[str, str], list[bytes]]]:
    """Something that gives one answer after the other; gives the environment that finds it, and what it was asked."""
    left, asked = list(answers), []

    class Requests(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = left.pop(0)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Requests) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        yield {**ADMIN, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": url}, asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("busy", [(500, b""), (503, {"__type": "X"}), (400, {"__type": "ns#ThrottlingException"})])
def test_a_busy_moment_is_survived(busy: tuple[int, Any]) -> None:
    with endpoint(busy, (200, {"SecretString": "key"})) as (environ, asked):
        assert read_secret(find_secret("name", environ), environ) == "key"
    assert asked == [b'{"SecretId": "name"}'] * 2


def test_a_text_that_names_an_error_is_none() -> None:
    with endpoint((200, {"SecretString": "ThrottlingException"})) as (environ, _):
        assert read_secret(find_secret("name", environ), environ) == "ThrottlingException"


def test_an_endpoint_that_stays_busy_is_unreachable() -> None:
    with endpoint((500, b""), (500, b"")) as (environ, _), pytest.raises(SecretsUnreachable, match="status 500"):
        read_secret(find_secret("name", environ), environ)


@pytest.mark.parametrize("answer", [{"__type": "InternalServiceError\n"}, b"<html>", b"[" * 100_000, []])
def test_another_error_is_quoted_in_one_line(answer: Any) -> None:
    with endpoint((400, answer)) as (environ, _), pytest.raises(SecretRefused, match="status 400") as caught:
        read_secret(find_secret("name", environ), environ)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:{}", "https://127.0.0.1:{}"])
def test_an_endpoint_that_is_not_there_is_unreachable(url: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        environ = {**ADMIN, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": url.format(closed.getsockname()[1])}
        with pytest.raises(SecretsUnreachable, match=r"127\.0\.0\.1.*VPC endpoint"):
            read_secret(find_secret("name", environ), environ)


def test_an_endpoint_that_never_answers_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.access.secret.READ_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environ = {**ADMIN, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": url}
        with pytest.raises(SecretsUnreachable, match="timed out"):
            read_secret(find_secret("name", environ), environ)


def test_a_server_without_a_certificate_is_unreachable(secrets: SecretsManager) -> None:
    with pytest.raises(SecretsUnreachable, match="SSL"):
        read(secrets, AWS_ENDPOINT_URL_SECRETS_MANAGER=secrets.url.replace("http:", "https:"))
