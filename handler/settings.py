"""What an operator can set: read once, from an injected environment, into one frozen record."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal, cast

from handler.errors import SettingsError

MIB = 2**20


@dataclass(frozen=True)
class Settings:
    """The server's settings; docs/configuration.md has the same table."""

    model_dir: Path  # FIREBRICK_MODEL_DIR: the artefact directory
    host: str = "127.0.0.1"  # FIREBRICK_HOST: the address to listen on
    port: int = 8080  # AWS_LWA_PORT, else PORT; 0 takes any free one
    api_key: str | None = None  # FIREBRICK_API_KEY: wanted as `Authorization: Bearer` when set
    queue: int = 8  # FIREBRICK_QUEUE: requests that may wait while one is answered
    max_body: int = 6 * MIB  # FIREBRICK_MAX_BODY: bytes; Lambda's own limit
    max_tokens: int | None = None  # FIREBRICK_MAX_TOKENS: for requests that name none
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
    for field in fields(Settings):
        key, value = _find(field.name, environ, overrides)
        if value is not None:
            given[field.name] = _PARSERS[field.name](key, value)
    if "model_dir" not in given:
        raise SettingsError("FIREBRICK_MODEL_DIR", "", "the directory of an exported model (or --model-dir DIR)")
    settings = Settings(model_dir=cast(Path, given.pop("model_dir")))
    return replace(settings, **given)  # type: ignore[arg-type]  # each parser returns its field's type


def _find(name: str, environ: Mapping[str, str], overrides: Mapping[str, str | None]) -> tuple[str, str | None]:
    override = overrides.get(name)
    if override is not None:
        return f"--{name.replace('_', '-')}", override
    # The adapter looks at AWS_LWA_PORT first, so must we: or it would knock at another door.
    keys = ["AWS_LWA_PORT", "PORT"] if name == "port" else [f"FIREBRICK_{name.upper()}"]
    return next(((key, environ[key]) for key in keys if environ.get(key)), (keys[0], None))


def _integer(low: int, high: int) -> Callable[[str, str], int]:
    def parse(key: str, value: str) -> int:
        if not (value.isascii() and value.isdigit() and len(value) < 20 and low <= int(value) <= high):
            raise SettingsError(key, value, f"an integer from {low} to {high}")
        return int(value)

    return parse


def _seconds(key: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise SettingsError(key, value, "seconds from 0 to 86400")
    return seconds


def _switch(key: str, value: str) -> bool:
    if value not in ("0", "1"):
        raise SettingsError(key, value, "0 or 1")
    return value == "1"


def _verify(key: str, value: str) -> str:
    if value not in ("full", "quick"):
        raise SettingsError(key, value, "full or quick")
    return value


def _api_key(key: str, value: str) -> str:
    # A header can't carry anything else, so nobody could ever send such a key.
    if not (value.isascii() and value.isprintable() and value == value.strip()):
        raise SettingsError(key, "…", "printable ASCII characters without blanks around")
    return value


_PARSERS: Mapping[str, Callable[[str, str], object]] = {
    "model_dir": lambda key, value: Path(value),
    "host": lambda key, value: value,
    "port": _integer(0, 65_535),
    "api_key": _api_key,
    "queue": _integer(0, 10_000),
    "max_body": _integer(1, 2**31),
    "max_tokens": _integer(1, 2**31),
    "prefill_chunk": _integer(1, 2**20),
    "verify": _verify,
    "kernels": lambda key, value: Path(value),
    "populate": _switch,
    "log_text": _switch,
    "shutdown_grace_s": _seconds,
}
