"""A deployed function's settings, read from the Lambda API → options of the command line.

https://docs.aws.amazon.com/lambda/latest/api/API_GetFunction.html and the operations that `read_deployed` names
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from image.local.aws import CallRefused, call, make_client
from image.local.errors import OptionInvalid, StartError
from image.local.limits import LATEST
from image.local.options import ALIAS, NAME

NOT_FOUND = "ResourceNotFoundException"


class FunctionMissing(StartError):
    """The Lambda API knows no such function, version or alias."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(
            f"--deployed {text!r} is not there: {reason}; give FUNCTION, FUNCTION:ALIAS or FUNCTION:VERSION"
        )


@dataclass(frozen=True)
class Deployed:
    """What the Lambda API says of a function.

    Attributes:
        configuration: Of the version that the qualifier stands for.
        qualifier: A version or an alias; None for `$LATEST`.
        image: The image's address, if it is deployed as one.
        url: Of GetFunctionUrlConfig; empty if it has no URL.
        invokes: Of GetFunctionEventInvokeConfig; empty if it has none.
        concurrency: Reserved for it, if any.
    """

    configuration: Mapping[str, Any]
    qualifier: str | None
    image: str | None
    url: Mapping[str, Any]
    invokes: Mapping[str, Any]
    concurrency: int | None

    def presets(self) -> dict[str, Any]:
        """Return the options' texts, by the parser's names; only those that the function has settings for."""
        configuration, destinations = self.configuration, self.invokes.get("DestinationConfig") or {}
        variables = (configuration.get("Environment") or {}).get("Variables") or {}
        values = {
            "name": configuration["FunctionName"],
            "version": configuration["Version"] if configuration["Version"] != LATEST else None,
            "memory": configuration.get("MemorySize"),
            "timeout": configuration.get("Timeout"),
            "ephemeral_storage": (configuration.get("EphemeralStorage") or {}).get("Size"),
            "concurrency": self.concurrency,
            "url_auth": self.url.get("AuthType"),
            "invoke_mode": (self.url.get("InvokeMode") or "").upper() or None,
            "async_retries": self.invokes.get("MaximumRetryAttempts"),
            "max_event_age": self.invokes.get("MaximumEventAgeInSeconds"),
            "on_failure": (destinations.get("OnFailure") or {}).get("Destination"),
            "on_success": (destinations.get("OnSuccess") or {}).get("Destination"),
            "dead_letter_queue": (configuration.get("DeadLetterConfig") or {}).get("TargetArn"),
        }
        snapshots = (configuration.get("SnapStart") or {}).get("ApplyOn") == "PublishedVersions"
        alias = self.qualifier if self.qualifier != configuration["Version"] else None
        return {
            **{name: str(value) for name, value in values.items() if value not in (None, "")},
            "env": [f"{key}={value}" for key, value in variables.items()],
            "alias": [alias] if alias else [],
            **({"snapstart": True} if snapshots and configuration["Version"] != LATEST else {}),
        }


def read_deployed(text: str, region: str) -> Deployed:
    """Ask the Lambda API for a function.

    Args:
        text: FUNCTION, FUNCTION:ALIAS or FUNCTION:VERSION.
        region: Where it is deployed.

    Raises:
        OptionInvalid: The text isn't that.
        FunctionMissing: There is no such function, version or alias.
        StartError: The API can't be asked.
    """
    name, colon, qualifier = text.partition(":")
    if not NAME.fullmatch(name) or (colon and not (ALIAS.fullmatch(qualifier) or qualifier.isdecimal())):
        if qualifier != LATEST:
            raise OptionInvalid("--deployed", text, "FUNCTION, FUNCTION:ALIAS or FUNCTION:VERSION")
        qualifier = ""
    client = make_client("lambda", region)
    try:
        return _read(client, text, {"FunctionName": name, **({"Qualifier": qualifier} if qualifier else {})})
    finally:
        client.close()


def _read(client: Any, text: str, named: dict[str, str]) -> Deployed:
    try:
        function = call(client, "get_function", **named)
    except CallRefused as error:
        if error.code == NOT_FOUND:
            raise FunctionMissing(text, str(error)) from error
        raise
    concurrency = _if_there(client, "get_function_concurrency", FunctionName=named["FunctionName"])
    return Deployed(
        configuration=function["Configuration"],
        qualifier=named.get("Qualifier"),
        image=function.get("Code", {}).get("ImageUri"),
        url=_if_there(client, "get_function_url_config", **named),
        invokes=_if_there(client, "get_function_event_invoke_config", **named),
        concurrency=concurrency.get("ReservedConcurrentExecutions"),
    )


def _if_there(client: Any, operation: str, **named: str) -> Mapping[str, Any]:
    try:
        return call(client, operation, **named)
    except CallRefused as error:
        if error.code == NOT_FOUND:
            return {}
        raise
