"""What all errors are, and how a refused value is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

SHOWN_CHARACTERS = 80


def shown(value: object) -> str:
    """Describe a refused JSON value in few, printable characters."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return f"an array of {len(value)}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = ascii(value[:SHOWN_CHARACTERS]) if isinstance(value, str) else _shown_number(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _shown_number(value: object) -> str:
    # An integer of more than 4,300 digits can't be printed at all in Python.
    if isinstance(value, int) and value.bit_length() > 256:
        return f"an integer of {value.bit_length()} bits"
    return repr(value)


class FirebrickError(Exception):
    """The root of everything that is raised on purpose."""


class Cancelled(FirebrickError):
    """A generation was ended from outside, between two tokens or in the middle of a prefill."""


class Interrupted(FirebrickError):
    """A step was ended in its middle for one of its sequences; the others' is to be run again."""


class TimeUp(FirebrickError):
    """The deadline came after some tokens: what there is, is the answer."""


class InvocationMalformed(FirebrickError):
    """A header isn't what the Web Adapter writes; the request is answered without it, and the log says so."""

    def __init__(self, what: str, expected: str, value: object) -> None:
        super().__init__(f"{what} must be {expected}, got {shown(value)}")


class StartupError(FirebrickError):
    """The server can't start; its text says what is wrong and what to do."""

    exit_code: ClassVar[int] = 2


class ApiError(FirebrickError):
    """An answer other than 2xx.

    Args:
        message: What is wrong, with the bad value, and what to do.
        param: The path of the request's member at fault, such as `messages[1].role`.
    """

    status: ClassVar[int] = 400
    type: ClassVar[str] = "invalid_request_error"
    code: ClassVar[str | None] = None

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that belong to this error."""
        return {}

    def body(self) -> dict[str, Any]:
        """Return OpenAI's error body."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": error}
