"""moto's server, a registry, and a deployment that several tests look at. Who can't deploy here is told so, loudly."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from bench.port import free_port
from image.deploy.tool import find_terraform, provider_root
from image.engines import obstacle
from image.errors import ToolMissing
from image.registry import loopback_registry
from tests.deployment.fargate import Stack, make_stack
from tests.deployment.leftovers import leftovers
from tests.deployment.workspace import ROOT, Workspace, make_workspace

START_S = 60
FORBIDDEN = pytest.StashKey[str | None]()
EVERYTHING: dict[str, Any] = {
    "cors_origins": ["https://example.org"],
    "reserved_concurrency": 20,
    "force_destroy": True,
    # A short time-out, so that messages that failed are soon visible again: after six times as long.
    "worker": {"timeout_s": 3, "batch_size": 10, "maximum_concurrency": 2, "max_receive_count": 3},
    "batches": {},
    "provisioned_concurrency": {
        "minimum": 2,
        "maximum": 10,
        "schedule": [{"when": "cron(0 7 ? * MON-FRI *)", "minimum": 2, "maximum": 10, "timezone": "Europe/Berlin"}],
    },
    "monitoring": {
        "monthly_budget_usd": 50,
        "budget_email": "you@example.org",
        "alarm_topic_arn": "arn:aws:sns:us-east-1:123456789012:alarms",
    },
}


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FORBIDDEN] = _obstacle()


def _obstacle() -> str | None:
    try:
        find_terraform()
    except ToolMissing as error:
        return str(error)
    if provider_root() is None:
        return "the AWS provider is nowhere on this machine, and tests download nothing"
    return obstacle("podman") and f"podman: {obstacle('podman')}"


@pytest.fixture(autouse=True, scope="session")
def can_deploy(request: pytest.FixtureRequest) -> None:
    """Skip everything where nothing can be deployed."""
    reason = request.config.stash[FORBIDDEN]
    if reason:
        pytest.skip(reason)
    assert (ROOT / "build/demo/manifest.json").is_file(), "make build/demo/manifest.json"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say loudly what wasn't tried."""
    if config.stash[FORBIDDEN]:
        terminalreporter.section("THE DEPLOYMENT WAS NOT TESTED", sep="!", red=True, bold=True)
        terminalreporter.line(str(config.stash[FORBIDDEN]))


@contextmanager
def serving_moto(module: str, *ports: int) -> Iterator[str]:
    """Run moto's server, mended, in a process of its own; that of the functions' stack calls Lambda at a port."""
    port = free_port()
    command = [sys.executable, "-m", module, str(port), *map(str, ports)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            endpoint = f"http://127.0.0.1:{port}"
            _wait(f"{endpoint}/moto-api/", process)
            yield endpoint
        finally:
            process.kill()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        assert process.poll() is None, "moto's server ended"
        with suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.05)
    raise AssertionError(f"moto's server doesn't answer after {START_S} s")


@pytest.fixture(scope="session")
def lambda_port() -> int:
    """Where a local Lambda may listen for what state machines call."""
    return free_port()


@pytest.fixture(scope="session")
def moto(lambda_port: int) -> Iterator[str]:
    with serving_moto("tests.deployment.moto_server", lambda_port) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def registry() -> Iterator[str]:
    with loopback_registry() as running:
        yield running.address


@pytest.fixture(autouse=True, scope="session")
def fargate(
    can_deploy: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack | None]:
    """The service's own stack, begun before all else, since its apply mostly waits; nothing may be left of it."""
    if not any(item.path.name == "test_fargate.py" for item in request.session.items):
        yield None
        return
    with serving_moto("tests.deployment.moto_fargate") as endpoint:
        stack = make_stack(tmp_path_factory.mktemp("fargate"), endpoint)
        yield stack
        stack.destroyed()
        assert stack.left() == []


@pytest.fixture(scope="session")
def deployments(moto: str, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Workspace]]:
    """Two deployments, side by side because each mostly waits; nothing may be left of them."""
    wanted: list[dict[str, Any]] = [EVERYTHING, {"name": "fb-key", "url_auth": "NONE"}]
    made = [make_workspace(tmp_path_factory.mktemp("clone"), moto, registry, **variables) for variables in wanted]
    with ThreadPoolExecutor() as threads:
        list(threads.map(Workspace.apply, made))
        yield made
        list(threads.map(Workspace.destroy, made))
    assert [leftovers(moto, workspace.name) for workspace in made] == [[], []]


@pytest.fixture(scope="session")
def deployed(deployments: list[Workspace]) -> Workspace:
    """All that can be deployed but an API key, from sources that a test may change."""
    return deployments[0]


@pytest.fixture(scope="session")
def with_key(deployments: list[Workspace]) -> Workspace:
    """A URL without IAM."""
    return deployments[1]


@pytest.fixture
def workspace(moto: str, registry: str, tmp_path: Path) -> Workspace:
    """A clone that hasn't deployed anything."""
    return make_workspace(tmp_path / "clone", moto, registry, name="fb-new")
