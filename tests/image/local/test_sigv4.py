from __future__ import annotations

import calendar
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from image.local.refusals import Forbidden
from image.local.settings import Settings
from image.local.sigv4 import check_signature
from image.local.url_event import HttpRequest

SETTINGS = Settings(url_auth="AWS_IAM")


def signed(
    method: str = "POST",
    url: str = "http://h:1/a%20b/c?y=2&x=1",
    body: bytes = b"{}",
    keys: tuple[str, str] = ("test", "test"),
    scope: tuple[str, str] = ("lambda", "us-east-1"),
) -> tuple[HttpRequest, float]:
    """Sign with botocore; return the request as it arrives, and when it was signed."""
    request = AWSRequest(method, url, {"X-Mine": "1"}, body)
    SigV4Auth(Credentials(*keys), *scope).add_auth(request)
    path, _, query = url.removeprefix("http://h:1").partition("?")
    headers = [("host", "h:1"), *((name.lower(), value) for name, value in request.headers.items())]
    stamp = time.strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
    return HttpRequest(method, path, query, headers, body), float(calendar.timegm(stamp))


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("url", ["http://h:1/", "http://h:1/a%20b/c?y=2&x=1", "http://h:1/?q=%C3%A4&empty="])
def test_a_signature_of_botocore(method: str, url: str) -> None:
    request, now = signed(method, url, b"" if method == "GET" else b"{}")
    check_signature(request, SETTINGS, now)


def changed(name: str, value: str) -> HttpRequest:
    request, _ = signed()
    return replace(request, headers=[(key, value if key == name else old) for key, old in request.headers])


# Each is signed in its test: at a busy machine, what was signed when tests were collected is too old by then.
@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (lambda: replace(signed()[0], body=b"[]"), "does not match"),
        (lambda: replace(signed()[0], path="/other"), "does not match"),
        (lambda: replace(signed()[0], query="x=2"), "does not match"),
        (lambda: replace(signed()[0], method="PUT"), "does not match"),
        (lambda: changed("host", "other"), "does not match"),
        (lambda: changed("authorization", "Bearer x"), "no Authorization"),
        (lambda: changed("x-amz-date", "20200101T000000Z"), "X-Amz-Date"),
        (lambda: changed("x-amz-date", "now"), "X-Amz-Date"),
        (lambda: signed(keys=("other", "test"))[0], "unknown access key 'other'"),
        (lambda: signed(keys=("test", "other"))[0], "does not match"),
        (lambda: signed(scope=("s3", "us-east-1"))[0], "signed for s3"),
        (lambda: signed(scope=("lambda", "eu-west-1"))[0], "in eu-west-1"),
    ],
)
def test_requests_that_do_not_pass(ask: Callable[[], HttpRequest], reason: str) -> None:
    with pytest.raises(Forbidden) as caught:
        check_signature(ask(), SETTINGS, time.time())
    assert reason in caught.value.reason


@pytest.mark.parametrize("late_s", [-301, 301])
def test_a_signature_of_another_time(late_s: int) -> None:
    request, now = signed()
    with pytest.raises(Forbidden):
        check_signature(request, SETTINGS, now + late_s)


def test_a_stated_hash_must_be_the_bodys() -> None:
    request, now = signed()
    hashed = replace(request, headers=[*request.headers, ("x-amz-content-sha256", "0" * 64)])
    with pytest.raises(Forbidden) as caught:
        check_signature(hashed, SETTINGS, now)
    assert "X-Amz-Content-Sha256" in caught.value.reason
