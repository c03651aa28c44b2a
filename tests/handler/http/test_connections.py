"""What strangers send, or don't, over sockets of their own."""

from __future__ import annotations

import json
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from handler.errors import SettingsError
from handler.http.connections import MOST, RESERVED, connection_limit
from handler.snapshot import Snapshot
from tests.handler.doubles import ScriptedEngine, Serving, serving
from tests.handler.http.test_app import CHAT, QUESTION, eventually, held, logged

GET = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n"
SOON = 0.05


def connect(server: Serving) -> socket.socket:
    address = (server.client.base_url.host, server.client.base_url.port or 0)
    return socket.create_connection(address, timeout=20)


def chat(version: str = "1.1", **members: Any) -> bytes:
    content = json.dumps(QUESTION | members)
    return f"POST {CHAT} HTTP/{version}\r\nhost: x\r\ncontent-length: {len(content)}\r\n\r\n{content}".encode()


def everything(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    received = b""
    while piece := connection.recv(65_536):
        received += piece
    return received


def one_answer(connection: socket.socket) -> bytes:
    """What comes until an answer with a length is whole."""
    received = connection.recv(65_536)
    while b"\r\n\r\n" not in received:
        received += connection.recv(65_536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(next(line.split(b":")[1] for line in head.split(b"\r\n") if line.startswith(b"content-length")))
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


def answer(received: bytes) -> tuple[int, dict[str, Any]]:
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def refused(server: Serving) -> dict[str, Any]:
    """The line that tells of refused connections."""
    eventually(lambda: "connections_refused" in server.log.getvalue())
    return next(line for line in logged(server) if line["event"] == "connections_refused")


# ---------------------------------------------------------------- what is no HTTP


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "malformed_http"),  # TLS
        (b"GET /\r\n\r\n", 400, "malformed_http"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "malformed_http"),
        (b"GET / HTTP/1.1\r\nhost: x\r\na b: c\r\n\r\n", 400, "malformed_http"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", 400, "malformed_http"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: br\r\n\r\n", 400, "malformed_http"),
        (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 20_000, 431, "headers_too_large"),
        (b"GET /" + b"a" * 40_000, 431, "headers_too_large"),
        (
            b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + b"a: b\r\n" * 6_000 + b"\r\n",
            431,
            "headers_too_large",
        ),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http_version_unsupported"),
    ],
)
def test_what_is_no_http_is_refused_in_the_apis_form(sent: bytes, status: int, code: str) -> None:
    with serving() as server, connect(server) as connection:
        connection.sendall(sent)
        got, body = answer(everything(connection))
        assert (got, body["error"]["code"]) == (status, code)
        assert server.client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET /\r\n\r\n", "illegal request line: 'GET /'"),
        (b"GET / HTTP/1.1\r\na (b) c\r\n\r\n", "illegal header line: 'a (b) c'"),
    ],
)
def test_what_is_wrong_is_told_without_pythons_own_words(sent: bytes, reason: str) -> None:
    with serving() as server, connect(server) as connection:
        connection.sendall(sent)
        body = answer(everything(connection))[1]
    assert body["error"]["message"] == f"this is no HTTP/1.1 request: {reason}"


def test_a_long_method_is_told_in_short() -> None:
    with serving() as server, connect(server) as connection:
        connection.sendall(b"A" * 30_000 + b" /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        status, body = answer(everything(connection))
    assert status == 405
    assert len(body["error"]["message"]) < 200
    assert len(logged(server)[0]["method"]) < 40


def test_rubbish_in_a_body_ends_the_request() -> None:
    with serving() as server, connect(server) as connection:
        connection.sendall(f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nrubbish\r\n".encode())
        assert answer(everything(connection))[0] == 400
        eventually(lambda: "client_gone" in server.log.getvalue())


def test_who_sends_rubbish_is_counted_in_one_line() -> None:
    with serving() as server:
        for _ in range(20):
            with connect(server) as connection:
                connection.sendall(b"rubbish\r\n\r\n")
                everything(connection)
        assert refused(server)["malformed_http"] >= 1
    assert len(logged(server)) <= 2


def test_an_upgrade_is_not_taken_and_makes_no_noise() -> None:
    with serving() as server:
        headers = {"connection": "upgrade", "upgrade": "h2c"}
        assert server.client.get("/health", headers=headers).status_code == 200
    assert server.log.getvalue() == ""


# ---------------------------------------------------------------- what doesn't come


@pytest.mark.parametrize("before", [b"", GET])
def test_a_head_that_does_not_come_is_given_up(before: bytes) -> None:
    with serving(head_s=SOON) as server, connect(server) as connection:
        connection.sendall(before)
        if before:
            assert b"200 OK" in one_answer(connection)
        connection.sendall(GET[:-2])
        got, body = answer(everything(connection))
    assert (got, body["error"]["code"]) == (408, "request_timeout")


def test_a_byte_now_and_then_does_not_help() -> None:
    with serving(head_s=SOON) as server, connect(server) as connection:
        connection.settimeout(0.01)
        received = b""
        for byte in b"GET / HTTP/1.1\r\na: " + b"b" * 10_000:
            connection.sendall(bytes([byte]))
            try:
                received = connection.recv(1000)
                break
            except TimeoutError:
                continue
    assert b"408" in received


def test_who_connects_and_says_nothing_is_told_nothing() -> None:
    with serving(head_s=SOON) as server, connect(server) as connection:
        assert everything(connection) == b""


def test_a_kept_connection_may_be_idle_for_longer() -> None:
    with serving(head_s=SOON) as server, connect(server) as connection:
        connection.sendall(GET)
        assert b"200 OK" in one_answer(connection)
        with connect(server) as silent:
            everything(silent)  # A whole sweep has gone by.
        connection.sendall(GET)
        assert b"200 OK" in one_answer(connection)


def test_an_answer_may_take_longer_than_a_head() -> None:
    with serving(held(), head_s=SOON) as server, connect(server) as connection:
        connection.sendall(chat())
        with connect(server) as silent:
            everything(silent)
        server.engine.gate.set()
        assert b"200 OK" in one_answer(connection)


def test_the_rest_of_a_refused_body_is_not_waited_for() -> None:
    with serving(max_body=1000, head_s=SOON) as server, connect(server) as connection:
        connection.sendall(f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 999999\r\n\r\n".encode())
        assert b"413" in everything(connection)


# ---------------------------------------------------------------- how many


@contextmanager
def crowd(server: Serving, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(connect(server)) for _ in range(count)]


def test_one_more_connection_takes_the_place_of_the_idlest() -> None:
    with serving(connections=5) as server, crowd(server, 5) as connections:
        with connect(server) as one_more:
            one_more.sendall(GET)
            assert b"200 OK" in one_answer(one_more)
        assert connections[0].recv(1) == b""
        connections[1].sendall(GET)
        assert b"200 OK" in one_answer(connections[1])
        assert refused(server)["gave_way"] == 1


def test_who_is_being_answered_keeps_the_place() -> None:
    with serving(held(), connections=2, queue=8) as server, crowd(server, 2) as connections:
        for connection in connections:
            connection.sendall(chat())
        eventually(lambda: len(server.engine.calls) == 1)
        connections[1].sendall(b"")
        with connect(server) as one_more:
            got, body = answer(everything(one_more))
        assert (got, body["error"]["code"]) == (503, "too_many_connections")
        server.engine.gate.set()
        assert all(b"200 OK" in one_answer(connection) for connection in connections)


def test_many_idle_connections_leave_the_server_well() -> None:
    with serving(connections=20) as server, crowd(server, 200):
        assert server.client.get("/health").status_code == 200
    assert len(logged(server)) <= 2


@pytest.mark.parametrize(("descriptors", "limit"), [(1024, 1024 - RESERVED), (200, 100), (2**20, MOST)])
def test_the_limit_leaves_descriptors_for_others(monkeypatch: pytest.MonkeyPatch, descriptors: int, limit: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    assert connection_limit(None) == limit


def test_a_limit_beyond_the_descriptors_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    with pytest.raises(SettingsError, match="FIREBRICK_CONNECTIONS=1000 is not valid: expected at most 896"):
        connection_limit(1000)


# ---------------------------------------------------------------- half of it closed


@pytest.mark.parametrize("stream", [True, False])
def test_who_sends_no_more_still_gets_the_answer(stream: bool) -> None:
    with serving(held()) as server, connect(server) as connection:
        connection.sendall(chat(stream=stream))
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        time.sleep(0.1)  # It has looked meanwhile whether somebody is there.
        server.engine.gate.set()
        received = everything(connection)
    assert b"HTTP/1.1 200 OK" in received
    assert (b"[DONE]" if stream else b"hello world") in received


def test_requests_before_the_end_are_all_answered() -> None:
    with serving() as server, connect(server) as connection:
        connection.sendall(chat() * 3)
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection).count(b"hello world") == 3


def test_half_a_request_has_no_answer() -> None:
    with serving() as server, connect(server) as connection:
        connection.sendall(chat()[:-1])
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection) == b""
        eventually(lambda: "client_gone" in server.log.getvalue())


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_who_closes_all_of_it_frees_the_engine(version: str) -> None:
    with serving(held()) as server:
        with connect(server) as connection:
            connection.sendall(chat(version))
            eventually(lambda: len(server.engine.calls) == 1)
        eventually(lambda: server.engine.closed == 1)


def test_a_reader_that_takes_nothing_is_disconnected() -> None:
    engine = ScriptedEngine("x" * 20_000)
    with serving(engine, context_length=50_000, idle_s=0.05) as server, connect(server) as connection:
        connection.sendall(chat(stream=True))  # 4 MB that nobody takes
        eventually(lambda: "client_idle" in server.log.getvalue())
        eventually(lambda: len(server.connections) == 0)


# ---------------------------------------------------------------- between two requests


def test_an_unused_connection_is_kept_for_as_long_as_is_set() -> None:
    with serving(keep_alive_s=1.0) as server, connect(server) as connection:
        connection.sendall(GET)
        assert answer(one_answer(connection))[0] == 200
        assert connection.recv(1) == b""


def test_before_a_checkpoint_idle_connections_are_closed() -> None:
    snapshot = Snapshot()
    with serving(snapshot=snapshot, function_name="stream", before_checkpoint="/before") as server:
        snapshot.on_before(server.connections.close_idle)
        with connect(server) as idle, connect(server) as calling:
            idle.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer(one_answer(idle))[0] == 200
            calling.sendall(b"POST /before HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            assert everything(calling).startswith(b"HTTP/1.1 204")
            with suppress(ConnectionResetError):
                assert idle.recv(1) == b""
