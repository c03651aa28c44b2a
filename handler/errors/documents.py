"""Documents that a worker can't answer, and what lies with the deployment of them."""

from __future__ import annotations

from handler.errors.base import ApiError


class NotificationRefused(ApiError):
    """A message tells of something else than a document that was put where documents lie."""

    code = "notification_refused"

    def __init__(self, what: str) -> None:
        super().__init__(f"this notification is not of a document: {what}")


class DocumentsUnconfigured(ApiError):
    """A message tells of a document, and none may come from anywhere."""

    status = 500  # the operator's fault, not the sender's
    type = "server_error"
    code = "documents_unconfigured"

    def __init__(self) -> None:
        super().__init__("documents need to be allowed: set FIREBRICK_INPUT_BUCKET to the bucket that they come from")


class DocumentGone(ApiError):
    """The version that a message tells of is no longer there."""

    status = 404
    code = "document_gone"

    def __init__(self, url: str, version: str) -> None:
        super().__init__(f"{url} in version {version} was deleted before it was read; put it there again")


class DocumentUnavailable(ApiError):
    """S3 doesn't give the document."""

    status = 502
    type = "server_error"
    code = "document_unavailable"

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"reading {url} failed: {reason}")


class DocumentUnsupported(ApiError):
    """The document is of a kind that isn't read."""

    status = 415
    code = "document_unsupported"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the document can't be read: {what}; put text, Markdown, JSON or JSON lines there, with a Content-Type or "
            "a suffix that says so"
        )


class DocumentTooLarge(ApiError):
    """The document has more bytes than FIREBRICK_DOCUMENT_MAX_BYTES."""

    status = 413
    code = "document_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the document is larger than {limit} bytes; split it, or raise FIREBRICK_DOCUMENT_MAX_BYTES")


class TooManyParts(ApiError):
    """The document has more lines, or needs more parts, than are kept for one."""

    status = 413
    code = "too_many_parts"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the document needs more than {limit} answers; split it into several")


class DocumentUnreadable(ApiError):
    """The document isn't what it says it is."""

    code = "document_unreadable"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the document can't be read: {reason}")


class DocumentEmpty(ApiError):
    """The document has nothing but blanks."""

    code = "document_empty"

    def __init__(self) -> None:
        super().__init__("the document is empty; put some text there")


class InstructionMissing(ApiError):
    """Nobody says what is to be done with the document."""

    code = "instruction_missing"

    def __init__(self) -> None:
        super().__init__(
            "nobody says what to do with the document: put it there with the metadata 'instruction', or set "
            "FIREBRICK_DOCUMENT_INSTRUCTION"
        )


class NoRoomForDocument(ApiError):
    """Instruction and answer fill the context."""

    code = "no_room_for_document"

    def __init__(self, prompt_tokens: int, max_tokens: int, context_length: int) -> None:
        super().__init__(
            f"an instruction of {prompt_tokens} tokens and an answer of {max_tokens} leave no room for the document in "
            f"the model's context of {context_length}; shorten the instruction, or lower max_tokens"
        )


class RequeueFailed(ApiError):
    """A document that goes on in the next invocation can't be sent to its queue again."""

    status = 502
    type = "server_error"
    code = "requeue_failed"

    def __init__(self, queue: str, reason: str) -> None:
        super().__init__(f"sending the document's message to {queue} again failed: {reason}")
