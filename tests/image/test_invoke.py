"""Whom `make invoke` calls, and what it says when there is no answer."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import image.invoke
from image.deploy.outputs import Outputs
from image.errors import UrlInvalid
from image.invoke import Target, choose_target, main
from tests.image.aws import point_to

DEPLOYED = "https://abc123.lambda-url.eu-central-1.on.aws/"


@contextmanager
def answering(status: int, body: Any) -> Iterator[str]:
    """A server with one answer to everything."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_the_region_of_a_function_url_stands_in_it() -> None:
    assert choose_target(DEPLOYED, {}) == Target(DEPLOYED.rstrip("/"), None, "eu-central-1")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000", "http://127.0.0.1:9000/v1", "http://127.0.0.1:9000/v1/"])
def test_a_base_url_of_any_form_will_do(url: str) -> None:
    assert choose_target(url, {"AWS_REGION": "eu-west-1"}) == Target("http://127.0.0.1:9000", None, "eu-west-1")


@pytest.mark.parametrize("url", ["127.0.0.1:9000", "ftp://example.org", "https://"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UrlInvalid, match="expected https"):
        choose_target(url, {})


def test_without_a_url_it_is_what_terraform_says(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = Outputs(DEPLOYED, "eu-central-1", "firebrick/api-key")
    monkeypatch.setattr(image.invoke, "read_outputs", lambda environ: outputs)
    monkeypatch.setattr(image.invoke, "read_secret", lambda name, region: f"{name} in {region}")
    assert choose_target(None, {}) == Target(DEPLOYED[:-1], "firebrick/api-key in eu-central-1", "eu-central-1")
    assert choose_target(None, {"FIREBRICK_API_KEY": "mine"}).api_key == "mine"


@pytest.mark.parametrize(
    ("status", "remedy"), [(403, "caller_policy"), (429, "reserved_concurrency"), (502, "log group"), (400, "too long")]
)
def test_a_refusal_says_what_to_do(
    status: int, remedy: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    point_to("http://127.0.0.1:1", monkeypatch, tmp_path)
    with answering(status, {"error": {"message": "too long"}}) as url:
        assert main(["Hello", "--url", url], {}) == 2
    error = capsys.readouterr().err
    assert f"answered {status}" in error
    assert remedy in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("body", [{}, {"data": []}, {"data": None}, [], "text"])
def test_another_kind_of_server_is_one_line(
    body: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    point_to("http://127.0.0.1:1", monkeypatch, tmp_path)
    with answering(200, body) as url:
        assert main(["Hello", "--url", url], {}) == 2
    assert "lists no model" in capsys.readouterr().err


def test_nobody_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["Hello", "--url", "http://127.0.0.1:1/"], {}) == 2
    assert "gave no answer" in capsys.readouterr().err
