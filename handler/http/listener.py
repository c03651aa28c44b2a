"""The socket: bound before the model loads, so that a port in use is known at once."""

from __future__ import annotations

import socket

from handler.errors import PortInUse

BACKLOG = 2048


def open_socket(host: str, port: int) -> socket.socket:
    """Bind a socket without listening yet: who connects before the model is loaded is refused at once.

    Raises:
        PortInUse: The address can't be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only where the protocol is named; with it, answers take 40 ms more.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
    except (OSError, UnicodeError) as error:  # UnicodeError: no host name in the world looks like that.
        opened.close()
        raise PortInUse(host, port, getattr(error, "strerror", None) or str(error)) from error
    return opened


def listen(opened: socket.socket) -> str:
    """Begin to take connections; return the URL.

    Raises:
        PortInUse: Another process began first.
    """
    host, port = opened.getsockname()[:2]
    try:
        opened.listen(BACKLOG)
    except OSError as error:
        raise PortInUse(host, port, error.strerror or str(error)) from error
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
