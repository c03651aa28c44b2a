"""moto's server, and an environment in which boto3 finds it and nothing else."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@contextmanager
def moto_server() -> Iterator[str]:
    """Run a server of one's own; its state begins empty."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def point_to(endpoint: str, patch: pytest.MonkeyPatch, home: Path, keys: bool = True) -> None:
    """Let boto3 call an endpoint, with test keys or with none at all."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", *KEYS):
        patch.delenv(name, raising=False)
    # No profile of this machine's, and no metadata service to ask.
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        patch.setenv(name, str(home / "none"))
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    patch.setenv("AWS_ENDPOINT_URL", endpoint)
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name, value in KEYS.items() if keys else ():
        patch.setenv(name, value)
