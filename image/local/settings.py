"""What can be set: the command line, and what is deployed, read once into one frozen record."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from image.local import options
from image.local.deployed import read_deployed
from image.local.errors import OptionInvalid, OptionMisplaced, OptionMissing
from image.local.limits import (
    ACCOUNT,
    ASYNC_RETRIES,
    ASYNC_RETRY_DELAY_S,
    BATCH_SIZES,
    BATCH_WINDOW_S,
    EVENT_AGE_S,
    MB_PER_VCPU,
    MOST_VCPUS,
)
from image.local.qualifiers import Qualifiers

QUEUE_URL = re.compile(r"https?://[^\s/]+/(?:[^\s?#]+/)*[A-Za-z0-9_-]+(?:\.fifo)?")


@dataclass(frozen=True)
class Queue:
    """A queue to poll; what is None says the event source mapping, or else its default."""

    url: str  # --queue
    batch_size: int | None = None  # --batch-size
    window_s: int | None = None  # --batch-window
    concurrency: int | None = None  # --queue-concurrency: batches in flight at most
    reports_failures: bool | None = None  # --batch-item-failures: whether answers may be partial


@dataclass(frozen=True)
class Asynchronous:
    """What becomes of Event invokes; queues by ARN or URL."""

    retries: int = ASYNC_RETRIES  # --async-retries
    retry_delay_s: float = ASYNC_RETRY_DELAY_S  # --async-retry-delay: before the first retry, doubled for the second
    max_age_s: float = EVENT_AGE_S  # --max-event-age
    on_failure: str | None = None  # --on-failure
    on_success: str | None = None  # --on-success
    dead_letter: str | None = None  # --dead-letter-queue


@dataclass(frozen=True)
class Settings:
    """One function and how it is offered; docs/local-lambda.md has the same table."""

    image: str | None = None  # --image: a container image; else
    command: tuple[str, ...] = ()  # --command: plain processes
    extensions: tuple[Path, ...] = ()  # --extension: executables started besides the command
    name: str = "firebrick"  # --name: of the function
    qualifiers: Qualifiers = field(
        default_factory=Qualifiers
    )  # --version, --alias: names of what is invoked, besides $LATEST
    snapstart: bool = False  # --snapstart: published versions begin from a snapshot
    memory_mb: int = 3008  # --memory
    timeout_s: float = 60.0  # --timeout: of one invoke
    storage_mb: int = 512  # --ephemeral-storage: of /tmp in a container
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
    deployed: bool = False  # --deployed: whether the Lambda API knows the function
    queue: Queue | None = None
    asynchronous: Asynchronous = field(default_factory=Asynchronous)
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
        OptionMissing: Nothing says what to run.
        OptionMisplaced: An option means nothing together with the others.
        ProgramMissing: The command or an extension isn't there.
        StartError: The function of --deployed can't be read.
    """
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or Settings.region
    given = options.parse_options(arguments, {})
    if given.deployed is not None:
        deployed = read_deployed(given.deployed, region)
        given = options.parse_options(arguments, deployed.presets())
        if not given.command:
            given.image = given.image or deployed.image
    if not (given.image or given.command):
        raise OptionMissing("give --image or --command: what the function is")
    _check_combination(given)
    private = given.network or ("private" if given.image and os.geteuid() == 0 else "host")
    concurrency = options.integer("--concurrency", given.concurrency or "1", 1, 1000)
    if given.image and private == "host" and concurrency != 1:
        raise OptionMisplaced("--concurrency above 1 needs --network private: on the host's, two servers share a port")
    name = given.name if given.name is not None else Settings.name
    return Settings(
        image=given.image,
        command=options.command(given.command) if given.command else (),
        extensions=tuple(options.executable(path) for path in given.extension),
        name=options.named("--name", name, options.NAME, "1 to 64 letters, digits, - or _"),
        qualifiers=_qualifiers(given),
        snapstart=given.snapstart,
        memory_mb=_integer(given, "memory", Settings.memory_mb, 128, 10_240),
        timeout_s=_number(given, "timeout", Settings.timeout_s, 0.001, 900),
        storage_mb=_integer(given, "ephemeral_storage", Settings.storage_mb, 512, 10_240),
        concurrency=concurrency,
        port=_integer(given, "port", Settings.port, 0, 65_535),
        api_port=_integer(given, "api_port", Settings.api_port, 0, 65_535),
        variables=dict(options.variable(text) for text in given.env),
        url_auth=given.url_auth or Settings.url_auth,
        invoke_mode=given.invoke_mode or Settings.invoke_mode,
        cpus=options.number("--cpus", given.cpus, 0.01, 1024) if given.cpus is not None else None,
        network=cast(Literal["private", "host"], private),
        reach=tuple(options.reached_port(port) for port in given.reach),
        freeze=not given.no_freeze,
        deployed=given.deployed is not None,
        queue=_queue(given) if given.queue is not None else None,
        asynchronous=_asynchronous(given),
        region=region,
        access_key=environ.get("AWS_ACCESS_KEY_ID") or Settings.access_key,
        secret_key=environ.get("AWS_SECRET_ACCESS_KEY") or "test",
    )


def _check_combination(given: argparse.Namespace) -> None:
    if given.snapstart and given.version is None and not given.alias:
        raise OptionMisplaced(
            "--snapstart goes with --version or --alias: Lambda makes snapshots of published versions"
        )
    if given.snapstart and given.ephemeral_storage not in (None, str(Settings.storage_mb)):
        raise OptionMisplaced(f"--snapstart allows --ephemeral-storage {Settings.storage_mb} only, as Lambda does")
    if given.image and given.extension:
        raise OptionMisplaced("--extension goes with --command; an image has its extensions in /opt/extensions")
    if given.command and given.cpus is not None:
        raise OptionMisplaced("--cpus goes with --image; the processes of --command are not limited")
    if given.reach and given.network == "host":
        raise OptionMisplaced("--reach goes with --network private; on the host's, every port can be reached")
    of_queue = ("batch_size", "batch_window", "queue_concurrency", "batch_item_failures")
    if given.queue is None and (alone := [name for name in of_queue if getattr(given, name) is not None]):
        raise OptionMisplaced(f"{_option(alone[0])} goes with --queue")


def _qualifiers(given: argparse.Namespace) -> Qualifiers:
    expected = "1 to 128 letters, digits, - or _, not digits only"
    aliases = tuple(dict.fromkeys(options.named("--alias", name, options.ALIAS, expected) for name in given.alias))
    if given.version is None and not aliases:
        return Qualifiers()
    return Qualifiers(str(_integer(given, "version", 1, 1, 999_999_999)), aliases)


def _queue(given: argparse.Namespace) -> Queue:
    def integer(name: str, low: int, high: int) -> int | None:
        text = getattr(given, name)
        return None if text is None else options.integer(_option(name), text, low, high)

    return Queue(
        url=options.named("--queue", given.queue, QUEUE_URL, "the URL of an SQS queue"),
        batch_size=integer("batch_size", *BATCH_SIZES),
        window_s=integer("batch_window", 0, BATCH_WINDOW_S),
        concurrency=integer("queue_concurrency", 1, 1000),
        reports_failures=None if given.batch_item_failures is None else given.batch_item_failures == "report",
    )


def _asynchronous(given: argparse.Namespace) -> Asynchronous:
    return Asynchronous(
        retries=_integer(given, "async_retries", ASYNC_RETRIES, 0, ASYNC_RETRIES),
        retry_delay_s=_number(given, "async_retry_delay", ASYNC_RETRY_DELAY_S, 0, EVENT_AGE_S),
        max_age_s=_number(given, "max_event_age", EVENT_AGE_S, 1, EVENT_AGE_S),
        on_failure=_destination(given, "on_failure"),
        on_success=_destination(given, "on_success"),
        dead_letter=_destination(given, "dead_letter_queue"),
    )


def _destination(given: argparse.Namespace, name: str) -> str | None:
    text: str | None = getattr(given, name)
    if text == "":
        raise OptionInvalid(_option(name), text, "the ARN or the URL of an SQS queue, or none")
    return None if text == "none" else text


def _integer(given: argparse.Namespace, name: str, default: int, low: int, high: int) -> int:
    text: str | None = getattr(given, name)
    return default if text is None else options.integer(_option(name), text, low, high)


def _number(given: argparse.Namespace, name: str, default: float, low: float, high: float) -> float:
    text: str | None = getattr(given, name)
    return default if text is None else options.number(_option(name), text, low, high)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
