"""A port for a server that has to be told one."""

from __future__ import annotations

import random
import socket

# Below what the systems hand out by themselves (Linux from 32768 on), so that no connection takes it in between.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """One of 127.0.0.1 that nobody listens on.

    Raises:
        OSError: there is none.
    """
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("a hundred ports of 127.0.0.1 are taken")
