"""Signatures, judged by the local Lambda's checker."""

from __future__ import annotations

import time
from pathlib import Path

import httpx2
import pytest
from botocore.credentials import Credentials

from image.errors import NoCredentials
from image.local.refusals import Forbidden
from image.local.settings import Settings
from image.local.sigv4 import check_signature
from image.local.url_event import HttpRequest
from image.signing import LOCAL, credentials, signer
from tests.image.aws import point_to

URL = "http://127.0.0.1:9000/v1/chat/completions?a=b%20c"


def signed(secret: str = "test", region: str = "us-east-1") -> HttpRequest:
    request = httpx2.Request("POST", URL, json={"x": "ü"}, headers={"authorization": "Bearer signed"})
    request = signer(Credentials("test", secret), region)(request)
    path, _, query = request.url.raw_path.decode().partition("?")
    return HttpRequest("POST", path, query, list(request.headers.items()), request.content, "127.0.0.1")


def test_a_signed_request_passes() -> None:
    check_signature(signed(), Settings(), time.time())


@pytest.mark.parametrize("change", [{"secret": "another"}, {"region": "eu-central-1"}])
def test_another_key_or_region_does_not(change: dict[str, str]) -> None:
    with pytest.raises(Forbidden):
        check_signature(signed(**change), Settings(), time.time())


def test_without_credentials_only_a_local_lambda_is_signed_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    point_to("http://127.0.0.1:1", monkeypatch, tmp_path, keys=False)
    assert credentials(local=True) is LOCAL
    with pytest.raises(NoCredentials, match="aws sso login"):
        credentials(local=False)
