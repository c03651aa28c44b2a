"""Pages of other origins."""

from __future__ import annotations

import httpx
import pytest

from tests.handler.doubles import Serving, serving
from tests.handler.http.test_app import CHAT, QUESTION, logged

HERE, ELSEWHERE = "https://example.org", "https://example.com"


def preflight(server: Serving, origin: str = HERE, method: str = "POST") -> httpx.Response:
    headers = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": "authorization,x-stainless-os",
    }
    return server.client.options(CHAT, headers=headers)


def test_a_preflight_is_answered_without_the_key() -> None:
    with serving(api_key="secret", cors_origins=(HERE,)) as server:
        answer = preflight(server)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == HERE
    assert "x-stainless-os" in answer.headers["access-control-allow-headers"]
    assert "Origin" in answer.headers["vary"]


def test_another_origins_isnt() -> None:
    with serving(cors_origins=(HERE,)) as server:
        answer = preflight(server, ELSEWHERE)
    assert answer.status_code == 400
    assert "access-control-allow-origin" not in answer.headers


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
