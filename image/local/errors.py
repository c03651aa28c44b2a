"""Errors of the local Lambda and of the function: one cause per class.

`StartError`s end the process with one line on stderr and exit code 2. `FunctionError`s are what Lambda reports about a
function that failed. What Lambda itself refuses is in `refusals.py`.
"""

from __future__ import annotations

import json
from typing import ClassVar

from image.local.limits import RESPONSE_BYTES, STREAM_BYTES


class LocalError(Exception):
    """The root of everything that is raised on purpose."""


# ---------------------------------------------------------------- start: exit code 2


class StartError(LocalError):
    """The local Lambda can't start; the text says what is wrong and what to do."""

    exit_code: ClassVar[int] = 2


class OptionInvalid(StartError):
    """An option has a value that it can't have."""

    def __init__(self, option: str, value: object, expected: str) -> None:
        super().__init__(f"{option} {str(value)!r} is not valid: expected {expected}")


class OptionMissing(StartError):
    """An option without which there is nothing to run."""


class OptionMisplaced(StartError):
    """An option that means nothing together with the others."""


class PortInUse(StartError):
    """A port can't be had."""

    def __init__(self, option: str, port: int, reason: str) -> None:
        super().__init__(f"cannot listen on 127.0.0.1:{port}: {reason}; choose another with {option}, 0 for any")


class ProgramMissing(StartError):
    """A program to be run isn't there."""

    def __init__(self, program: str, remedy: str) -> None:
        super().__init__(f"{program} is not there or cannot be run: {remedy}")


class ImageUnusable(StartError):
    """podman can't tell what is in the image."""

    def __init__(self, image: str, reason: str) -> None:
        super().__init__(f"--image {image!r} cannot be used: {reason}; `podman images` lists what is there")


class NetworkUnavailable(StartError):
    """No private network namespace can be made here."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"cannot make a private network: {reason}; be root, or use --network host")


# ---------------------------------------------------------------- the function failed


class FunctionError(LocalError):
    """Why an invoke failed.

    Args:
        type: Lambda's error type, such as `Runtime.ExitError`.
        message: Its text, without the request id.
        payload: What the caller gets, if the runtime sent it itself.
    """

    status: ClassVar[str] = "error"  # in the REPORT line
    ends_environment: ClassVar[bool] = True

    def __init__(self, type: str, message: str, payload: bytes | None = None) -> None:
        super().__init__(message)
        self.type = type
        self.message = message
        self._payload = payload

    def payload(self, request_id: str) -> bytes:
        """Return the JSON that the caller gets."""
        if self._payload is not None:
            return self._payload
        text = f"RequestId: {request_id} Error: {self.message}"
        return json.dumps({"errorType": self.type, "errorMessage": text}).encode()


class Reported(FunctionError):
    """The function raised, and its runtime reported that."""

    ends_environment = False


class InitReported(FunctionError):
    """The runtime reported that it can't start."""


class RestoreReported(FunctionError):
    """The runtime reported that what it does after a restore failed."""


class ResponseTooLarge(FunctionError):
    """A buffered response has more than 6 MB."""

    ends_environment = False

    def __init__(self, size: int) -> None:
        text = f"Response payload size ({size} bytes) exceeded maximum allowed payload size ({RESPONSE_BYTES} bytes)."
        body = json.dumps({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": text}).encode()
        super().__init__("Function.ResponseSizeTooLarge", text, body)


class StreamTooLarge(FunctionError):
    """A streamed response has more than 200 MB."""

    def __init__(self) -> None:
        super().__init__("Function.ResponseSizeTooLarge", f"The stream exceeded {STREAM_BYTES} bytes.")


class StreamReported(FunctionError):
    """The runtime ended its stream with an error in the trailers."""

    ends_environment = False


class TruncatedResponse(FunctionError):
    """The runtime closed its connection in the middle of a response."""

    def __init__(self) -> None:
        super().__init__("Runtime.TruncatedResponse", "The response ended before it was complete")


class RuntimeExited(FunctionError):
    """The runtime's process ended."""

    def __init__(self, returncode: int) -> None:
        super().__init__("Runtime.ExitError", f"Runtime exited {_reason(returncode)}")


class OutOfMemory(FunctionError):
    """The kernel killed the runtime because the environment's memory was used up."""

    def __init__(self) -> None:
        super().__init__("Runtime.OutOfMemory", "Runtime exited with error: signal: killed")


class EntrypointInvalid(FunctionError):
    """The image's entry point, or the command, can't be executed."""

    def __init__(self, reason: str) -> None:
        super().__init__("Runtime.InvalidEntrypoint", reason)


class ExtensionFailed(FunctionError):
    """An extension reported an error, or ended."""


class TimedOut(FunctionError):
    """The invoke took longer than the function's timeout."""

    status = "timeout"

    def __init__(self, seconds: float) -> None:
        super().__init__("Sandbox.Timedout", f"Task timed out after {seconds:.2f} seconds")


class InitTimedOut(FunctionError):
    """The init phase took longer than 10 s; it is tried again within the invoke."""

    status = "timeout"

    def __init__(self) -> None:
        super().__init__("Sandbox.Timedout", "init took too long")


class RestoreTimedOut(FunctionError):
    """What runs after a restore took longer than 10 s."""

    status = "timeout"

    def __init__(self) -> None:
        super().__init__("Sandbox.Timedout", "restore took too long")


class SandboxFailed(FunctionError):
    """The local Lambda itself failed, or was told to end while it invoked."""

    def __init__(self, reason: str) -> None:
        super().__init__("Sandbox.Failure", reason)


_SIGNALS = {1: "hangup", 2: "interrupt", 6: "aborted", 9: "killed", 11: "segmentation fault", 15: "terminated"}


def _reason(returncode: int) -> str:
    if returncode == 0:
        return "without providing a reason"
    number = -returncode if returncode < 0 else returncode - 128
    if number in _SIGNALS:
        return f"with error: signal: {_SIGNALS[number]}"
    return f"with error: exit status {returncode}"


class ClientGone(LocalError):
    """The client closed its connection before its request was complete."""
