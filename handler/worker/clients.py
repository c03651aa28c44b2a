"""botocore's clients, as the worker makes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from handler.errors import SettingsError

if TYPE_CHECKING:
    from botocore.client import BaseClient


@dataclass(frozen=True)
class Setting:
    """A setting that names what a client is for.

    Attributes:
        variable: Its environment variable.
        value: What it says.
        what: It should have been, in words.
    """

    variable: str
    value: str
    what: str


def make_client(
    service: str, region: str | None, setting: Setting, *, read_timeout_s: float = 10, attempts: int = 3
) -> BaseClient:
    """Make a client; nothing is sent yet.

    Args:
        service: As botocore calls it.
        region: Where it is.
        setting: Blamed for what botocore can't use.
        read_timeout_s: For each answer.
        attempts: Of one call, where the service throttles or fails.

    Raises:
        SettingsError: There is no region, or AWS_ENDPOINT_URL_… is no URL.
    """
    if not region:
        raise SettingsError("AWS_REGION", "", f"the region of {setting.variable}, as Lambda sets it")
    # botocore alone: boto3 around it would add its own imports and nothing that is used here.
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    retries = {"mode": "standard", "total_max_attempts": attempts}
    config = Config(connect_timeout=2, read_timeout=read_timeout_s, retries=retries)
    try:
        return Session().create_client(service, region_name=region, config=config)
    except (BotoCoreError, ValueError) as error:
        reason = f"{setting.what} that can be reached: {error}"
        raise SettingsError(setting.variable, setting.value, reason) from None
