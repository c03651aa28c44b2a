"""What can be set: the command line, read once, into one frozen record."""

import argparse
import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from image.local.errors import OptionInvalid, OptionMisplaced, ProgramMissing
from image.local.limits import ACCOUNT, MB_PER_VCPU, MOST_VCPUS, RUNTIME_API_PORT

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Settings:
    """One function and how it is offered; docs/local-lambda.md has the same table."""

    image: str | None = None  # --image: a container image; else
    command: tuple[str, ...] = ()  # --command: plain processes
    extensions: tuple[Path, ...] = ()  # --extension: executables started besides the command
    name: str = "firebrick"  # --name: of the function
    memory_mb: int = 3008  # --memory
    timeout_s: float = 60.0  # --timeout: of one invoke
    concurrency: int = 1  # --concurrency: environments at most
    port: int = 9000  # --port: of the function URL, 0 for any free one
    api_port: int = 9001  # --api-port: of the Invoke API
    variables: Mapping[str, str] = field(default_factory=dict)  # --env, over what Lambda sets
    url_auth: Literal["NONE", "AWS_IAM"] = "NONE"  # --url-auth
    invoke_mode: Literal["BUFFERED", "RESPONSE_STREAM"] = "RESPONSE_STREAM"  # --invoke-mode: of the function URL
    cpus: float | None = None  # --cpus: else what the memory buys
    network: Literal["private", "host"] = "host"  # --network: private for containers, where we are root
    reach: tuple[int, ...] = ()  # --reach: ports of this machine's loopback that a private network has too
    freeze: bool = True  # --no-freeze: leave environments running between invokes
    region: str = "us-east-1"  # AWS_REGION
    access_key: str = "test"  # AWS_ACCESS_KEY_ID: what signs requests for AWS_IAM
    secret_key: str = field(default="test", repr=False)  # AWS_SECRET_ACCESS_KEY

    @property
    def vcpus(self) -> float:
        """The processors' time that an environment gets, in processors."""
        return self.cpus or min(self.memory_mb / MB_PER_VCPU, MOST_VCPUS)

    @property
    def arn(self) -> str:
        """The function's ARN."""
        return f"arn:aws:lambda:{self.region}:{ACCOUNT}:function:{self.name}"


def read_settings(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Read the command line.

    Raises:
        OptionInvalid: A value can't be; the text names the option and the value.
        OptionMisplaced: An option means nothing together with the others.
        ProgramMissing: The command or an extension isn't there.
    """
    given = _parser().parse_args(arguments)
    _check_combination(given)
    if not NAME.fullmatch(given.name):
        raise OptionInvalid("--name", given.name, "1 to 64 letters, digits, - or _")
    private = given.network or ("private" if given.image and os.geteuid() == 0 else "host")
    if given.image and private == "host" and given.concurrency != "1":
        raise OptionMisplaced("--concurrency above 1 needs --network private: on the host's, two servers share a port")
    return Settings(
        image=given.image,
        command=_command(given.command) if given.command else (),
        extensions=tuple(_executable(path) for path in given.extension),
        name=given.name,
        memory_mb=_integer("--memory", given.memory, 128, 10_240),
        timeout_s=_number("--timeout", given.timeout, 0.001, 900),
        concurrency=_integer("--concurrency", given.concurrency, 1, 1000),
        port=_integer("--port", given.port, 0, 65_535),
        api_port=_integer("--api-port", given.api_port, 0, 65_535),
        variables=dict(_variable(text) for text in given.env),
        url_auth=given.url_auth,
        invoke_mode=given.invoke_mode,
        cpus=_number("--cpus", given.cpus, 0.01, 1024) if given.cpus is not None else None,
        network=cast(Literal["private", "host"], private),
        reach=tuple(_reach(port) for port in given.reach),
        freeze=not given.no_freeze,
        region=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or Settings.region,
        access_key=environ.get("AWS_ACCESS_KEY_ID") or Settings.access_key,
        secret_key=environ.get("AWS_SECRET_ACCESS_KEY") or "test",
    )


def _check_combination(given: argparse.Namespace) -> None:
    if given.image and given.extension:
        raise OptionMisplaced("--extension goes with --command; an image has its extensions in /opt/extensions")
    if given.command and given.cpus is not None:
        raise OptionMisplaced("--cpus goes with --image; the processes of --command are not limited")
    if given.reach and given.network == "host":
        raise OptionMisplaced("--reach goes with --network private; on the host's, every port can be reached")


def _reach(text: str) -> int:
    port = _integer("--reach", text, 1, 65_535)
    if port == RUNTIME_API_PORT:
        raise OptionInvalid("--reach", text, "another port: in a private network the Runtime API has this one")
    return port


def _command(text: str) -> tuple[str, ...]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise OptionInvalid("--command", text, f"a command line ({error})") from error
    if not words or shutil.which(words[0]) is None:
        raise ProgramMissing(words[0] if words else "--command ''", "name an executable in --command")
    return tuple(words)


def _executable(text: str) -> Path:
    path = Path(text).resolve()
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise ProgramMissing(text, "name an executable file in --extension")
    return path


def _variable(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (equals and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key)) or "\0" in value:
        raise OptionInvalid("--env", text, "KEY=VALUE")
    return key, value


def _integer(option: str, text: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
        raise OptionInvalid(option, text, f"an integer from {low} to {high}")
    return int(text)


def _number(option: str, text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not low <= value <= high:
        raise OptionInvalid(option, text, f"a number from {low:g} to {high:g}")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m image.local", description="Run an image or a command as AWS Lambda does.", allow_abbrev=False
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--image", help="a container image, run by podman")
    what.add_argument("--command", help="a command line, run as a plain process")
    add = parser.add_argument
    add("--extension", action="append", default=[], metavar="PATH", help="started besides the command")
    add("--name", default=Settings.name, help="of the function (default %(default)s)")
    add("--memory", default=str(Settings.memory_mb), metavar="MB", help="128 to 10240 (default %(default)s)")
    add("--timeout", default=f"{Settings.timeout_s:g}", metavar="S", help="of one invoke (default %(default)s)")
    add("--concurrency", default="1", metavar="N", help="environments at most; more invokes get a 429")
    add("--port", default=str(Settings.port), help="of the function URL, 0 for any (default %(default)s)")
    add("--api-port", default=str(Settings.api_port), help="of the Invoke API, 0 for any (default %(default)s)")
    add("--env", action="append", default=[], metavar="K=V", help="the function's environment")
    add("--url-auth", default="NONE", choices=["NONE", "AWS_IAM"], help="who may call the function URL")
    add("--invoke-mode", default="RESPONSE_STREAM", choices=["BUFFERED", "RESPONSE_STREAM"])
    add("--cpus", metavar="N", help="processors of an environment (default memory/1769, 6 at most)")
    add("--network", choices=["private", "host"], help="private: loopback only, one for each environment")
    add("--reach", action="append", default=[], metavar="PORT", help="of this machine, into private networks")
    add("--no-freeze", action="store_true", help="leave environments running between invokes")
    return parser
