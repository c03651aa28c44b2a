from __future__ import annotations

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from moto.server import ThreadedMotoServer

from bench.batch_load.storage import storage


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


def ask(url: str, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    try:
        connection.request(method, path, body, {"Authorization": "AWS test:test"})  # moto asks for one, whatever it is
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_without_faults_it_is_s3(s3: str) -> None:
    with storage(s3) as (url, behind):
        assert ask(url, "PUT", "/plain")[0] == 200
        assert ask(url, "PUT", "/plain/name", b"text")[0] == 200
        assert ask(url, "GET", "/plain/name") == (200, b"text")
        assert ask(url, "HEAD", "/plain/name") == (200, b"")
    assert behind.counts == {"PUT": 2, "GET": 1, "HEAD": 1}
    assert not behind.faults


def test_a_refused_call_does_nothing(s3: str) -> None:
    ask(s3, "PUT", "/refusing")
    with storage(s3, refused=1.0) as (url, behind):
        status, body = ask(url, "PUT", "/refusing/name", b"text")
    assert (status, b"SlowDown" in body) == (503, True)
    assert ask(s3, "GET", "/refusing/name")[0] == 404
    assert behind.faults == {"refused": 1}


def test_a_lost_answer_is_that_of_a_call_that_was_done(s3: str) -> None:
    ask(s3, "PUT", "/cutting")
    with storage(s3, cut=1.0) as (url, behind), pytest.raises(http.client.RemoteDisconnected):
        ask(url, "PUT", "/cutting/name", b"text")
    assert ask(s3, "GET", "/cutting/name") == (200, b"text")
    assert behind.faults == {"cut": 1}
