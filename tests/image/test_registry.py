"""Counting what clients send."""

from __future__ import annotations

import socket
import threading

from image.registry import HOST, Counter


def test_bytes_to_the_server_are_counted_and_those_back_are_not() -> None:
    with socket.create_server((HOST, 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                while connection.recv(100):
                    pass
                connection.sendall(b"received all of it")

        thread = threading.Thread(target=answer)
        thread.start()
        with Counter(server.getsockname()[1]) as counter:
            with socket.create_connection((HOST, counter.port)) as client:
                client.sendall(b"x" * 1000)
                client.shutdown(socket.SHUT_WR)
                received = b"".join(iter(lambda: client.recv(100), b""))
            thread.join()
            assert (counter.sent, received) == (1000, b"received all of it")
