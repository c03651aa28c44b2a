"""Pages of other origins."""

from __future__ import annotations

import httpx
import pytest

from tests.handler.doubles import Serving, serving
from tests.handler.http.test_app import CHAT, QUESTION, logged

HERE, ELSEWHERE = "https://example.org", "https://example.com"


def preflight(server: Serving, origin: str = HERE, method: str = "POST") -> httpx.Response:
    headers = {
        b"origin": origin.encode(),
        b"access-control-request-method": method.encode(),
        b"access-control-request-headers": b"authorization,x-stainless-os",
    }
    return server.client.options(CHAT, headers=headers)


def test_a_preflight_is_answered_without_the_key() -> None:
    with serving(api_key="secret", cors_origins=(HERE,)) as server:
        answer = preflight(server)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == HERE
    assert "x-stainless-os" in answer.headers["access-control-allow-headers"]
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize("origin", [ELSEWHERE, "null", HERE + ":444", "http://example.org", "", "\u00e9"])
def test_another_origins_is_refused_as_a_browsers_user_can_read(origin: str) -> None:
    with serving(cors_origins=(HERE,)) as server:
        answer = preflight(server, origin)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    assert answer.json()["error"]["code"] == "origin_refused"
    assert "FIREBRICK_CORS_ORIGINS" in answer.json()["error"]["message"]


def test_a_method_that_is_not_shared_is_named() -> None:
    with serving(cors_origins=(HERE,)) as server:
        answer = preflight(server, method="DELETE")
    assert answer.status_code == 405
    assert answer.json()["error"]["message"] == "pages of other origins may not send 'DELETE'; use GET, POST"
    assert answer.headers["access-control-allow-origin"] == HERE  # so that the browser names the method, too


@pytest.mark.parametrize(("key", "status"), [("secret", 200), ("wrong", 401)])
@pytest.mark.parametrize("stream", [True, False])
def test_answers_and_errors_can_be_read(key: str, status: int, stream: bool) -> None:
    headers = {"origin": HERE, "authorization": f"Bearer {key}"}
    with serving(api_key="secret", cors_origins=(HERE, ELSEWHERE)) as server:
        answer = server.client.post(CHAT, json=QUESTION | {"stream": stream}, headers=headers)
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == HERE
    assert "x-request-id" in answer.headers["access-control-expose-headers"]
    assert "Origin" in answer.headers["vary"]


def test_a_star_is_for_all() -> None:
    with serving(cors_origins=("*",)) as server:
        answers = [preflight(server), server.client.post(CHAT, json=QUESTION, headers={"origin": ELSEWHERE})]
    assert [answer.headers["access-control-allow-origin"] for answer in answers] == ["*", "*"]


def test_without_the_setting_no_page_may_read() -> None:
    with serving() as server:
        answer = server.client.post(CHAT, json=QUESTION, headers={"origin": HERE})
        assert preflight(server).status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert logged(server)[0]["status"] == 200
