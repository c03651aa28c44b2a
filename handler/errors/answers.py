"""What becomes of a valid request that gets no whole answer."""

from __future__ import annotations

from collections.abc import Mapping

from handler.errors.base import ApiError


class ResponseTooLarge(ApiError):
    """The answer has more bytes than may be sent."""

    code = "response_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the answer is larger than {limit} bytes; ask for fewer tokens, logprobs or inputs", "max_tokens"
        )


class QueueFull(ApiError):
    """As many requests are waiting as may wait."""

    status = 429
    type = "rate_limit_error"
    code = "queue_full"

    def __init__(self, waiting: int, retry_after_s: int) -> None:
        super().__init__(f"one request is answered at a time and {waiting} are waiting; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> Mapping[str, str]:
        return {"retry-after": str(self.retry_after_s)}


class ClientGone(ApiError):
    """The client closed the connection; nobody reads this answer, only the log knows it."""

    status = 499
    code = "client_gone"

    def __init__(self) -> None:
        super().__init__("the client closed the connection")


class GenerationFailed(ApiError):
    """The server failed, not the client."""

    status = 500
    type = "server_error"
    code = "generation_failed"

    def __init__(self) -> None:
        super().__init__("the server failed to answer this request; its log has the reason")


class ShuttingDown(ApiError):
    """The server is ending and takes no more work, or has ended this work."""

    status = 503
    type = "server_error"
    code = "shutting_down"

    def __init__(self) -> None:
        super().__init__("the server is shutting down; try again")


class DeadlineExceeded(ApiError):
    """The function's time was up before the first token."""

    status = 504
    type = "server_error"
    code = "deadline_exceeded"

    def __init__(self) -> None:
        super().__init__("no token was ready before the function's deadline; shorten the prompt or raise the time-out")

    @property
    def headers(self) -> Mapping[str, str]:
        return {"x-should-retry": "false"}  # OpenAI's clients obey: the same prompt would take the same time again.
