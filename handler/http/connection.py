"""One connection: uvicorn's, with an end for what never comes, and the API's errors for what is no HTTP."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from handler.api.events import json_bytes
from handler.errors import ApiError, HeadLate, HeadTooLarge, MalformedHttp, TooManyConnections
from handler.http.connections import Connections
from handler.http.limits import LARGEST_HEAD

LINGER_S = 2.0  # A socket that is closed with bytes unread resets the connection, and the client loses the answer.
_QUOTED = re.compile(r"(?:bytearray\()?\bb('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")\)?")  # bytes in Python's own way
LOOKS_S = (0.02, 0.1, 0.5)  # when to look whether a client that sends no more is still there; the last one repeats


class Connection(H11Protocol):
    """A client's connection.

    Args:
        house: All connections.
        **uvicorn: What uvicorn makes a connection with.
    """

    def __init__(self, house: Connections, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        # uvicorn warns of each request that is no HTTP; here they are counted.
        self.logger = logging.getLogger("uvicorn.error.connection")
        self.logger.setLevel(logging.ERROR)
        self._house = house
        self._since = self.loop.time()  # when it began to wait for its client
        self._heard = False  # whether any byte has come since then
        self._fresh = True  # whether no request has come yet
        self._lingering = False
        self._half_closed = False
        self._closing_since: float | None = None

    # ---------------------------------------------------------------- asyncio's protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self._house.admit(self):
            self._refuse(TooManyConnections())

    def connection_lost(self, exc: Exception | None) -> None:
        self._house.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._lingering or self.transport.is_closing():
            return
        if not self._heard and not self._serving:
            self._heard = True
            if not self._fresh:
                self._since = self.loop.time()  # A new head gets its whole time after an idle while.
        super().data_received(data)
        self._note()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        # An HTTP/1.0 client can't be asked whether it is still there, and proxies that speak it close like this.
        if not self._answering or self.cycle.scope["http_version"] != "1.1":
            return None
        if not self._half_closed:
            self._half_closed = True
            self._ask()
            self._look(0)
        return True

    # ---------------------------------------------------------------- uvicorn's

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._answering:
            return  # It goes on with a request that lay in the buffer.
        if self._half_closed and not self.transport.is_closing():
            self.transport.close()
        self._since, self._heard = self.loop.time(), False
        self._house.wait(self)

    def shutdown(self) -> None:
        if self._lingering:
            self.transport.abort()
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Refuse what h11 couldn't read; uvicorn calls it while that exception is being handled."""
        error = sys.exc_info()[1]
        too_large = isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431
        self._refuse(HeadTooLarge(LARGEST_HEAD) if too_large else MalformedHttp(_QUOTED.sub(r"\1", str(error))[:200]))

    def _get_upgrade(self) -> None:
        """No upgrade is taken, which the client sees by an answer without one; uvicorn would warn of each."""

    # ---------------------------------------------------------------- all connections'

    def give_way(self) -> None:
        self.transport.abort()

    def check(self, now: float) -> None:
        if self.transport.is_closing():
            # Closing waits for a client to take what is written, which it may never do.
            self._closing_since = self._closing_since or now
            if now - self._closing_since > LINGER_S:
                self.transport.abort()
        elif self._lingering:
            if now - self._since > LINGER_S:
                self.transport.abort()
        elif self._wants_more and now - self._since > self._house.bounds.head_s:
            self._refuse(HeadLate(self._house.bounds.head_s))
        elif not self._serving and now - self._since > self.timeout_keep_alive:
            self.transport.close()  # uvicorn's timer is off where a refused request's body has come at last.

    # ---------------------------------------------------------------- our own

    @property
    def _serving(self) -> bool:
        """Whether a request's answer isn't at its end."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _answering(self) -> bool:
        """Whether the client waits for an answer, having sent all of its request."""
        return self._serving and not self.cycle.more_body

    @property
    def _wants_more(self) -> bool:
        """Whether something has begun that only the client can end, and nobody else looks at the time."""
        if self._serving:
            return False
        return self._fresh or self._heard or self.conn.their_state is h11.SEND_BODY

    def _note(self) -> None:
        if self.cycle is not None:
            self._fresh = False
        if self._answering:
            self._house.serve(self)
        elif not self._serving and self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            self._heard = False  # A refused request's body has come to its end.

    def _refuse(self, error: ApiError) -> None:
        self._house.count(error.code or "")
        silent = self._fresh and not self._heard and isinstance(error, HeadLate)
        if silent or self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self._abandon()
            self.transport.close()
            return
        body = json_bytes(error.body())
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
            "x-request-id": os.urandom(12).hex(),
            **error.headers,
        }
        head = h11.Response(
            status_code=error.status, headers=list(headers.items()), reason=STATUS_PHRASES[error.status]
        )
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self._abandon()
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        self._lingering, self._since = True, self.loop.time()
        self._house.wait(self)
        try:
            self.transport.write_eof()
        except OSError:  # The client has reset the connection, and the loop hasn't heard of it yet.
            self.transport.abort()

    def _abandon(self) -> None:
        """Let the application know that nobody reads what it writes."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _ask(self) -> None:
        """Send what every client skips (RFC 9110, 15.2.1): if this one has closed its socket, its system says so."""
        if not self.cycle.response_started:
            self.cycle.waiting_for_100_continue = False
            skipped = h11.InformationalResponse(status_code=100, headers=[], reason="Continue")
            self.transport.write(self.conn.send(skipped))

    def _look(self, index: int) -> None:
        """Look again and again whether a client that sends no more has answered that it isn't there."""
        if self.transport.is_closing():
            return
        if self.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
        else:
            self.loop.call_later(LOOKS_S[index], self._look, min(index + 1, len(LOOKS_S) - 1))
