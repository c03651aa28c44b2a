"""The command line's options, and how their texts are read: one function for each kind of value."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from image.local.errors import OptionInvalid, ProgramMissing
from image.local.limits import RUNTIME_API_PORT

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
ALIAS = re.compile(r"(?!\d+$)[A-Za-z0-9_-]{1,128}")


def parse_options(arguments: Sequence[str], presets: Mapping[str, Any]) -> argparse.Namespace:
    """Return the options' texts; what wasn't given is None, False or an empty list.

    Args:
        arguments: The command line.
        presets: Values of options that the command line may override, or add to where an option may be repeated.
    """
    return make_parser().parse_args(arguments, argparse.Namespace(**presets))


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        "python -m image.local", description="Run an image or a command as AWS Lambda does.", allow_abbrev=False
    )
    _add_function(parser)
    _add_endpoints(parser)
    _add_sandbox(parser)
    _add_queue(parser)
    _add_asynchronous(parser)
    return parser


def _add_function(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--image", help="a container image, run by podman")
    what.add_argument("--command", help="a command line, run as a plain process")
    add = parser.add_argument
    add("--extension", action="append", default=[], metavar="PATH", help="started besides the command")
    add("--deployed", metavar="FUNCTION[:ALIAS]", help="take the settings of a function from the Lambda API")
    add("--name", help="of the function (default firebrick)")
    add("--version", metavar="N", help="a version's number, besides $LATEST (default 1 with --alias)")
    add("--alias", action="append", default=[], metavar="NAME", help="another name of that version")
    add("--snapstart", action="store_true", help="start that version's environments as from a snapshot")
    add("--memory", metavar="MB", help="128 to 10240 (default 3008)")
    add("--timeout", metavar="S", help="of one invoke (default 60)")
    add("--ephemeral-storage", metavar="MB", help="of /tmp in a container, 512 to 10240 (default 512)")
    add("--concurrency", metavar="N", help="environments at most; more invokes get a 429 (default 1)")
    add("--env", action="append", default=[], metavar="K=V", help="the function's environment")


def _add_endpoints(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--port", help="of the function URL, 0 for any (default 9000)")
    add("--api-port", help="of the Invoke API, 0 for any (default 9001)")
    add("--url-auth", choices=["NONE", "AWS_IAM"], help="who may call the function URL (default NONE)")
    add("--invoke-mode", choices=["BUFFERED", "RESPONSE_STREAM"], help="of the URL (default RESPONSE_STREAM)")


def _add_sandbox(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--cpus", metavar="N", help="processors of an environment (default memory/1769, 6 at most)")
    add("--network", choices=["private", "host"], help="private: loopback only, one for each environment")
    add("--reach", action="append", default=[], metavar="PORT", help="of this machine, into private networks")
    add("--no-freeze", action="store_true", help="leave environments running between invokes")


def _add_queue(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--queue", metavar="URL", help="an SQS queue to poll, as an event source mapping does")
    add("--batch-size", metavar="N", help="messages of an invoke at most (default the mapping's, else 10)")
    add("--batch-window", metavar="S", help="in which a batch may fill (default the mapping's, else 0)")
    add("--queue-concurrency", metavar="N", help="batches at a time (default the mapping's, else 5)")
    add("--batch-item-failures", choices=["report", "ignore"], help="default the mapping's, else report")


def _add_asynchronous(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--async-retries", metavar="N", help="of an Event invoke that failed, 0 to 2 (default 2)")
    add("--async-retry-delay", metavar="S", help="before the first; the second waits twice as long (default 60)")
    add("--max-event-age", metavar="S", help="after which an Event is given up (default 21600)")
    add("--on-failure", metavar="QUEUE", help="ARN or URL: gets a record of each Event that failed; or none")
    add("--on-success", metavar="QUEUE", help="ARN or URL: gets a record of each Event that succeeded; or none")
    add("--dead-letter-queue", metavar="QUEUE", help="ARN or URL: gets each Event that failed itself; or none")


# ---------------------------------------------------------------- values


def command(text: str) -> tuple[str, ...]:
    """Split a command line whose program must be there.

    Raises:
        OptionInvalid: It can't be split.
        ProgramMissing: There is no such program.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise OptionInvalid("--command", text, f"a command line ({error})") from error
    if not words or shutil.which(words[0]) is None:
        raise ProgramMissing(words[0] if words else "--command ''", "name an executable in --command")
    return tuple(words)


def executable(text: str) -> Path:
    """Return the path of an extension.

    Raises:
        ProgramMissing: It isn't there, or can't be executed.
    """
    path = Path(text).resolve()
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise ProgramMissing(text, "name an executable file in --extension")
    return path


def named(option: str, text: str, pattern: re.Pattern[str], expected: str) -> str:
    """Return a name.

    Raises:
        OptionInvalid: It hasn't the form.
    """
    if not pattern.fullmatch(text):
        raise OptionInvalid(option, text, expected)
    return text


def variable(text: str) -> tuple[str, str]:
    """Split KEY=VALUE.

    Raises:
        OptionInvalid: It isn't that.
    """
    key, equals, value = text.partition("=")
    if not (equals and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key)) or "\0" in value:
        raise OptionInvalid("--env", text, "KEY=VALUE")
    return key, value


def reached_port(text: str) -> int:
    """Return a port for private networks.

    Raises:
        OptionInvalid: It is no port, or the Runtime API's.
    """
    port = integer("--reach", text, 1, 65_535)
    if port == RUNTIME_API_PORT:
        raise OptionInvalid("--reach", text, "another port: in a private network the Runtime API has this one")
    return port


def integer(option: str, text: str, low: int, high: int) -> int:
    """Return an integer.

    Raises:
        OptionInvalid: It isn't one, or not in the range.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
        raise OptionInvalid(option, text, f"an integer from {low} to {high}")
    return int(text)


def number(option: str, text: str, low: float, high: float) -> float:
    """Return a number.

    Raises:
        OptionInvalid: It isn't one, or not in the range.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not low <= value <= high:
        raise OptionInvalid(option, text, f"a number from {low:g} to {high:g}")
    return value
