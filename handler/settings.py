"""What an operator can set: read once, from an injected environment, into one frozen record."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, cast

from handler.errors import SettingsError

MIB = 2**20
LEAST_HEARTBEAT_S = 0.01
S3, SQS, EVENTS = "s3", "sqs", "events"  # where results go


@dataclass(frozen=True)
class S3Prefix:
    """A place in S3.

    Attributes:
        prefix: what its objects' keys begin with, without a slash at its ends; empty for the bucket itself.
    """

    bucket: str
    prefix: str

    def key(self, name: str) -> str:
        """The key of one of its objects."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


@dataclass(frozen=True)
class Settings:
    """The settings of both functions; docs/configuration.md has the same table."""

    model_dir: Path | S3Prefix  # FIREBRICK_MODEL_DIR: the artefact directory, or s3://BUCKET/PREFIX
    host: str = "127.0.0.1"  # FIREBRICK_HOST: the address to listen on
    port: int = 8080  # AWS_LWA_PORT, else PORT; 0 takes any free one
    api_key: str | None = None  # FIREBRICK_API_KEY: wanted as `Authorization: Bearer` or `x-api-key` when set
    api_key_secret: str | None = None  # FIREBRICK_API_KEY_SECRET: its name or ARN in Secrets Manager, in place of a key
    api_key_ttl_s: float = 300.0  # FIREBRICK_API_KEY_TTL_S: the secret is read again when the last time is longer ago
    queue: int = 8  # FIREBRICK_QUEUE: requests that may wait while one is answered
    max_body: int = 6 * MIB  # FIREBRICK_MAX_BODY: bytes; Lambda's own limit
    max_tokens: int | None = None  # FIREBRICK_MAX_TOKENS: for requests that name none
    max_tokens_cap: int | None = None  # FIREBRICK_MAX_TOKENS_CAP: no answer gets more, whatever its request names
    model_aliases: tuple[str, ...] = ()  # FIREBRICK_MODEL_ALIASES: further names of the model; "*" for any
    max_response: int = 190 * 10**6  # FIREBRICK_MAX_RESPONSE: bytes; Lambda cuts a streamed answer at 200 MB
    idle_s: float = 60.0  # FIREBRICK_IDLE_S: a client may send, or take, nothing for so long
    head_s: float = 10.0  # FIREBRICK_HEAD_S: a request's line and headers may take so long
    keep_alive_s: float = 75.0  # FIREBRICK_KEEP_ALIVE_S: between two requests; longer than who is in front keeps his
    connections: int | None = None  # FIREBRICK_CONNECTIONS: at a time; else by the descriptors that there are
    heartbeat_s: float = 15.0  # FIREBRICK_HEARTBEAT_S: a stream is silent for no longer; 0 lets it be
    cors_origins: tuple[str, ...] = ()  # FIREBRICK_CORS_ORIGINS: whose pages may call from a browser; * for all
    deadline_margin_ms: int = 1000  # FIREBRICK_DEADLINE_MARGIN_MS: answers end so long before Lambda would cut them
    page: bool = True  # FIREBRICK_PAGE: a chat at `/`
    function_name: str | None = None  # AWS_LAMBDA_FUNCTION_NAME: set means that Lambda calls, through the Web Adapter
    function_memory_mb: int | None = None  # AWS_LAMBDA_FUNCTION_MEMORY_SIZE: costs are reckoned by it
    initialization: str | None = None  # AWS_LAMBDA_INITIALIZATION_TYPE: its duration's price; do requests wait for it?
    before_checkpoint: str | None = None  # AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH: what the Web Adapter calls then
    after_restore: str | None = None  # AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH: the same
    region: str | None = None  # AWS_REGION, else AWS_DEFAULT_REGION: whose prices an answer is reckoned with
    service: str | None = None  # POWERTOOLS_SERVICE_NAME: in metrics
    metrics_namespace: str = "Firebrick"  # POWERTOOLS_METRICS_NAMESPACE
    metrics_disabled: bool = False  # POWERTOOLS_METRICS_DISABLED
    results_bucket: str | None = None  # FIREBRICK_RESULTS_BUCKET: where the worker function keeps its results
    queue_url: str | None = None  # FIREBRICK_QUEUE_URL: what the poller polls, where no Lambda does
    queue_batch: int = 10  # FIREBRICK_QUEUE_BATCH: messages that it takes at a time
    queue_timeout_s: float = 900.0  # FIREBRICK_QUEUE_TIMEOUT_S: for a batch, as a function's time-out
    queue_visibility_s: int = 120  # FIREBRICK_QUEUE_VISIBILITY_S: what a process held that died is seen again after
    queue_wait_s: int = 20  # FIREBRICK_QUEUE_WAIT_S: for a first message, in one call
    input_bucket: str | None = None  # FIREBRICK_INPUT_BUCKET: the only one whose documents the worker function answers
    document_instruction: str | None = None  # FIREBRICK_DOCUMENT_INSTRUCTION: for documents that bring none
    document_request: Mapping[str, Any] = field(default_factory=dict)  # FIREBRICK_DOCUMENT_REQUEST: JSON, the same
    document_max_bytes: int = 10 * MIB  # FIREBRICK_DOCUMENT_MAX_BYTES: of a document, uncompressed
    results: tuple[str, ...] = (S3,)  # FIREBRICK_RESULTS: where they go: s3, sqs, events; the bucket has all of them
    results_queue_url: str | None = None  # FIREBRICK_RESULTS_QUEUE_URL: of sqs
    results_bus: str | None = None  # FIREBRICK_RESULTS_BUS: of events, a name or an ARN
    slots: int | None = None  # FIREBRICK_SLOTS: answers at a time; else one, or in the worker what memory allows
    prefix_cache: bool = True  # FIREBRICK_PREFIX_CACHE: a prompt uses what the cache still holds of its beginning
    lookup: bool = True  # FIREBRICK_LOOKUP: guess tokens that prompt or answer have had before
    prefill_chunk: int = 256  # FIREBRICK_PREFILL_CHUNK: prompt tokens per step
    verify: Literal["full", "quick"] = "full"  # FIREBRICK_VERIFY: hash the weights too, or only what is small
    kernels: Path | None = None  # FIREBRICK_KERNELS: the library of native kernels, else the package's own
    populate: bool = True  # FIREBRICK_POPULATE: read weights that aren't hashed ahead of their use
    log_text: bool = False  # FIREBRICK_LOG_TEXT: prompts and answers in the log
    shutdown_grace_s: float = 25.0  # FIREBRICK_SHUTDOWN_GRACE_S: what is in flight may take so long after SIGTERM


def read_settings(environ: Mapping[str, str], **overrides: str | None) -> Settings:
    """Read the settings.

    Args:
        environ: The environment; empty values count as not set.
        **overrides: From the command line, by field name; None counts as not given.

    Raises:
        SettingsError: A value isn't valid; the text names its key and the value.
    """
    given: dict[str, object] = {}
    for setting in fields(Settings):
        key, value = _find(setting.name, environ, overrides)
        if value is not None:
            given[setting.name] = _PARSERS[setting.name](key, value)
    if "model_dir" not in given:
        expected = "the directory of an exported model, or s3://BUCKET/PREFIX (or --model-dir DIR)"
        raise SettingsError("FIREBRICK_MODEL_DIR", "", expected)
    if "api_key" in given and "api_key_secret" in given:
        raise SettingsError(
            "FIREBRICK_API_KEY_SECRET", given["api_key_secret"], "left out where FIREBRICK_API_KEY is set"
        )
    settings = replace(Settings(cast("Path | S3Prefix", given.pop("model_dir"))), **given)  # type: ignore[arg-type]  # parsers know
    _check_results(settings)
    return settings


def _check_results(settings: Settings) -> None:
    """Hold the destinations of results against what they need."""
    needs = ((SQS, "results_queue_url"), (EVENTS, "results_bus"))
    for destination, name in needs:
        key, value = f"FIREBRICK_{name.upper()}", getattr(settings, name)
        if value is None and destination in settings.results:
            raise SettingsError(key, "", f"set where FIREBRICK_RESULTS has {destination}")
        if value is not None and destination not in settings.results:
            raise SettingsError(key, value, f"left out where FIREBRICK_RESULTS has no {destination}")
    if settings.results != (S3,) and settings.results_bucket is None:
        raise SettingsError(
            "FIREBRICK_RESULTS_BUCKET",
            "",
            "set where FIREBRICK_RESULTS has sqs or events: it says what was sent already",
        )


def _find(name: str, environ: Mapping[str, str], overrides: Mapping[str, str | None]) -> tuple[str, str | None]:
    override = overrides.get(name)
    if override is not None:
        return f"--{name.replace('_', '-')}", override
    keys = KEYS.get(name, [f"FIREBRICK_{name.upper()}"])
    return next(((key, environ[key]) for key in keys if environ.get(key)), (keys[0], None))


# The adapter looks at AWS_LWA_PORT first, so must we: or it would knock at another door.
KEYS = {
    "port": ["AWS_LWA_PORT", "PORT"],
    "function_name": ["AWS_LAMBDA_FUNCTION_NAME"],
    "function_memory_mb": ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"],
    "initialization": ["AWS_LAMBDA_INITIALIZATION_TYPE"],
    "before_checkpoint": ["AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH"],
    "after_restore": ["AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH"],
    "region": ["AWS_REGION", "AWS_DEFAULT_REGION"],
    "service": ["POWERTOOLS_SERVICE_NAME"],
    "metrics_namespace": ["POWERTOOLS_METRICS_NAMESPACE"],
    "metrics_disabled": ["POWERTOOLS_METRICS_DISABLED"],
}


def _integer(low: int, high: int) -> Callable[[str, str], int]:
    def parse(key: str, value: str) -> int:
        if not (value.isascii() and value.isdigit() and len(value) < 20 and low <= int(value) <= high):
            raise SettingsError(key, value, f"an integer from {low} to {high}")
        return int(value)

    return parse


def _seconds(low: int) -> Callable[[str, str], float]:
    def parse(key: str, value: str) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if not low <= seconds <= 86_400:
            raise SettingsError(key, value, f"seconds from {low} to 86400")
        return seconds

    return parse


def _switch(key: str, value: str) -> bool:
    if value not in ("0", "1"):
        raise SettingsError(key, value, "0 or 1")
    return value == "1"


def _verify(key: str, value: str) -> str:
    if value not in ("full", "quick"):
        raise SettingsError(key, value, "full or quick")
    return value


def is_api_key(value: str) -> bool:
    """Whether a client can send it: a header carries nothing but printable ASCII, without blanks around."""
    return value.isascii() and value.isprintable() and value == value.strip() != ""


def _api_key(key: str, value: str) -> str:
    if not is_api_key(value):
        raise SettingsError(key, "…", "printable ASCII characters without blanks around")
    return value


def _heartbeat(key: str, value: str) -> float:
    seconds = _seconds(0)(key, value)
    if 0 < seconds < LEAST_HEARTBEAT_S:  # Comments would be all that the server does.
        raise SettingsError(key, value, f"0, or seconds from {LEAST_HEARTBEAT_S:g}")
    return seconds


def _origins(key: str, value: str) -> tuple[str, ...]:
    origins = tuple(origin.strip() for origin in value.split(","))
    if origins != ("*",) and not all(map(_is_origin, origins)):
        expected = "origins as browsers send them (https://example.org; no path, small letters, xn--…, no default port)"
        raise SettingsError(key, value, f"{expected} with commas between, or *")
    return origins


def _is_origin(text: str) -> bool:
    # Apps in a web view have schemes of their own. Another origin than a browser sends would never match.
    sent = re.fullmatch(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:]+\]|[a-z0-9._-]+)(:[0-9]+)?", text)
    return sent is not None and (sent[0].partition(":")[0], sent[2]) not in (("http", ":80"), ("https", ":443"))


def _secret(key: str, value: str) -> str:
    # https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html: Name
    name, arn = r"[A-Za-z0-9/_+=.@-]{1,512}", r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:"
    if not re.fullmatch(f"({arn})?{name}", value, re.ASCII):
        raise SettingsError(key, value, "the name or the ARN of a secret in Secrets Manager")
    return value


def _true(key: str, value: str) -> bool:
    # The words that Powertools takes, so that a variable means the same to both functions.
    known = dict.fromkeys(("1", "y", "yes", "t", "true", "on"), True)
    known |= dict.fromkeys(("0", "n", "no", "f", "false", "off"), False)
    if value.lower() not in known:
        raise SettingsError(key, value, "true or false")
    return known[value.lower()]


def _names(key: str, value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(","))
    if not all(name.isprintable() and name for name in names):
        raise SettingsError(key, value, "names with commas between them, or * for any name")
    return names


def _path(key: str, value: str) -> str:
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]*", value, re.ASCII):
        raise SettingsError(key, value, "a path that begins with a slash, without a query")
    return value


def _metrics_name(key: str, value: str) -> str:
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html: Namespace
    if not (value.isascii() and value.isprintable() and value.strip() and len(value) <= 255 and value[0] != ":"):
        raise SettingsError(key, value, "1 to 255 printable ASCII characters that don't begin with a colon")
    return value


def _bucket(key: str, value: str) -> str:
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html; access points have ARNs
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]|arn:[\w:/.-]{1,250}", value, re.ASCII):
        raise SettingsError(key, value, "an S3 bucket's name, without s3://")
    return value


def _model(key: str, value: str) -> Path | S3Prefix:
    if not value.lower().startswith("s3:"):
        return Path(value)
    found = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?", value, re.ASCII)
    parts = [part for part in (found[2] or "").split("/") if part] if found else []
    # A client would take them for a way upwards.
    if not found or not value.isprintable() or {".", ".."} & set(parts) or "//" in (found[2] or ""):
        raise SettingsError(key, value, "s3://BUCKET/PREFIX, where an artefact's files lie in S3")
    return S3Prefix(found[1], "/".join(parts))


def _object(key: str, value: str) -> dict[str, Any]:
    import json  # most deployments have no documents

    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise SettingsError(key, value, 'a JSON object, as {"max_tokens": 200}')
    return found


def _destinations(key: str, value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",")))
    if not set(names) <= {S3, SQS, EVENTS}:
        raise SettingsError(key, value, "s3, sqs or events, or several of them with commas between")
    return names


def _queue_url(key: str, value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#]+/[^\s?#]*[A-Za-z0-9_-](\.fifo)?", value):
        raise SettingsError(key, value, "an SQS queue's URL, https://sqs.REGION.amazonaws.com/ACCOUNT/NAME")
    return value


def _bus(key: str, value: str) -> str:
    # https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_CreateEventBus.html
    name = r"[A-Za-z0-9._/-]{1,256}"
    if not re.fullmatch(rf"(arn:aws[a-z-]*:events:[a-z0-9-]+:\d{{12}}:event-bus/)?{name}", value, re.ASCII):
        raise SettingsError(key, value, "an EventBridge bus's name or ARN")
    return value


_PARSERS: Mapping[str, Callable[[str, str], object]] = {
    "model_dir": _model,
    "host": lambda key, value: value,
    "port": _integer(0, 65_535),
    "api_key": _api_key,
    "api_key_secret": _secret,
    "api_key_ttl_s": _seconds(1),
    "queue": _integer(0, 10_000),
    "max_body": _integer(1, 2**31),
    "max_tokens": _integer(1, 2**31),
    "max_tokens_cap": _integer(1, 2**31),
    "model_aliases": _names,
    "max_response": _integer(1024, 2**31),
    "idle_s": _seconds(1),
    "head_s": _seconds(1),
    "keep_alive_s": _seconds(1),
    "connections": _integer(1, 1_000_000),
    "heartbeat_s": _heartbeat,
    "cors_origins": _origins,
    "deadline_margin_ms": _integer(0, 600_000),
    "page": _switch,
    "function_name": lambda key, value: value,
    "function_memory_mb": _integer(1, 2**31),
    "initialization": lambda key, value: value,
    "before_checkpoint": _path,
    "after_restore": _path,
    "region": lambda key, value: value,
    "service": _metrics_name,
    "metrics_namespace": _metrics_name,
    "metrics_disabled": _true,
    "results_bucket": _bucket,
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
    "queue_url": _queue_url,
    "queue_batch": _integer(1, 10),
    "queue_timeout_s": _seconds(1),
    "queue_visibility_s": _integer(3, 43_200),
    "queue_wait_s": _integer(0, 20),
    "input_bucket": _bucket,
    "document_instruction": lambda key, value: value,
    "document_request": _object,
    "document_max_bytes": _integer(1, 2**31),
    "results": _destinations,
    "results_queue_url": _queue_url,
    "results_bus": _bus,
    "slots": _integer(1, 64),
    "prefix_cache": _switch,
    "lookup": _switch,
    "prefill_chunk": _integer(1, 2**20),
    "verify": _verify,
    "kernels": lambda key, value: Path(value),
    "populate": _switch,
    "log_text": _switch,
    "shutdown_grace_s": _seconds(0),
}
