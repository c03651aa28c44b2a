"""What the worker function refuses or fails at."""

from __future__ import annotations

from handler.errors.base import ApiError, FirebrickError, StartupError


class UnknownEvent(ApiError):
    """The function was invoked with something that is neither a request nor a batch of messages."""

    code = "unknown_event"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}: send an object with 'prompt', 'messages' or 'input', SQS messages with such a body, or HTTP "
            "requests through a function URL"
        )


class ResultsBucketMissing(ApiError):
    """A job wants its result kept, and there is no place for it."""

    status = 500  # the operator's fault, not the caller's
    type = "server_error"
    code = "results_bucket_missing"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} need a place for results: set FIREBRICK_RESULTS_BUCKET to an S3 bucket's name")


class ResultsUnavailable(ApiError):
    """The bucket can't be read or written."""

    status = 502
    type = "server_error"
    code = "results_unavailable"

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"{what} failed: {reason}")


class NotEnoughTime(ApiError):
    """A message no longer fits before the deadline, or didn't; it goes back to its queue."""

    status = 503
    type = "server_error"
    code = "not_enough_time"

    def __init__(self, left_s: float, needed_s: float | None = None) -> None:
        needed = "was not answered before the deadline" if needed_s is None else f"needs about {needed_s:.1f} s"
        super().__init__(f"the message {needed}, {left_s:.1f} s are left; it goes back to its queue")


class QueueUnusable(StartupError):
    """The queue can't be polled: it isn't there, the role may not read it, or SQS can't be reached."""

    def __init__(self, url: str, reason: object) -> None:
        super().__init__(
            f"FIREBRICK_QUEUE_URL={url!r} can't be polled: {' '.join(str(reason).split())}; check the URL, and that "
            "the role has sqs:ReceiveMessage, DeleteMessage, ChangeMessageVisibility and GetQueueAttributes on it"
        )


class QueueUnavailable(FirebrickError):
    """A call of SQS failed in the middle of polling; it is tried again later."""
