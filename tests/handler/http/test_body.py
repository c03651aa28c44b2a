"""Compressed bodies and slow ones."""

from __future__ import annotations

import gzip
import json
import socket
import zlib

import httpx
import pytest

from tests.handler.doubles import Serving, serving
from tests.handler.http.test_app import CHAT, QUESTION, post

CONTENT = json.dumps(QUESTION).encode()
ZIPPED = gzip.compress(CONTENT, mtime=0)  # or the time would be part of the tests' names


def send(server: Serving, body: bytes, encoding: str) -> httpx.Response:
    return server.client.post(CHAT, content=body, headers={"content-encoding": encoding})


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (ZIPPED, "gzip"),
        (ZIPPED, "X-GZIP"),
        (zlib.compress(CONTENT), "deflate"),
        (CONTENT, "identity"),
    ],
)
def test_a_compressed_body_is_read(body: bytes, encoding: str) -> None:
    with serving() as server:
        assert send(server, body, encoding).status_code == 200


def test_it_may_come_byte_by_byte() -> None:
    with serving() as server:
        pieces = (ZIPPED[index : index + 1] for index in range(len(ZIPPED)))
        answer = server.client.post(CHAT, content=pieces, headers={"content-encoding": "gzip"})
    assert answer.status_code == 200


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
def test_another_encoding_is_refused_with_those_that_are_read(encoding: str) -> None:
    with serving() as server:
        answer = send(server, CONTENT, encoding)
    assert code(answer) == (415, "unsupported_encoding")
    assert answer.headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize("body", [CONTENT, b"", ZIPPED[:-1], ZIPPED + b"x"])
def test_what_is_not_compressed_as_it_says_is_refused(body: bytes) -> None:
    with serving() as server:
        assert code(send(server, body, "gzip")) == (400, "malformed_encoding")


def test_a_bomb_is_cut_off_at_the_limit() -> None:
    with serving(max_body=100_000) as server:
        assert code(send(server, gzip.compress(b" " * 50_000_000), "gzip")) == (413, "request_too_large")
        assert post(server).status_code == 200


def test_what_lies_behind_a_compressed_body_counts_too() -> None:
    with serving(max_body=1000) as server:
        answer = server.client.post(
            CHAT, content=(part for part in [ZIPPED, b"x" * 5000]), headers={"content-encoding": "gzip"}
        )
    assert code(answer) == (413, "request_too_large")


def test_a_byte_of_a_body_now_and_then_does_not_help() -> None:
    with serving(idle_s=0.2) as server:
        address = (server.client.base_url.host, server.client.base_url.port or 0)
        with socket.create_connection(address, timeout=0.01) as connection:
            connection.sendall(f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n".encode())
            received = b""
            for _ in range(1000):
                connection.sendall(b" ")
                try:
                    received = connection.recv(1000)
                    break
                except TimeoutError:
                    continue
    assert b"408 Request Timeout" in received
