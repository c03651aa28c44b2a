"""Whether this machine lets containers run; if it doesn't, nobody must take the silence for success."""

from __future__ import annotations

import pytest

from image.engines import obstacle
from tests.smoke.restricted import trial


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FORBIDDEN] = obstacle("podman") or trial()


FORBIDDEN = pytest.StashKey[str | None]()


@pytest.fixture(autouse=True, scope="session")
def containers_run(request: pytest.FixtureRequest) -> None:
    """Skip everything where the machine forbids containers."""
    reason = request.config.stash[FORBIDDEN]
    if reason:
        pytest.skip(f"this machine runs no containers: {reason}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say loudly what wasn't tried."""
    skipped = terminalreporter.stats.get("skipped", [])
    if config.stash[FORBIDDEN]:
        terminalreporter.section("THE IMAGES WERE NOT TESTED", sep="!", red=True, bold=True)
        terminalreporter.line(f"This machine runs no containers: {config.stash[FORBIDDEN]}")
    elif skipped:
        terminalreporter.section(f"{len(skipped)} SMOKE TESTS DID NOT RUN", sep="!", red=True, bold=True)
        for report in skipped:
            terminalreporter.line(f"{report.nodeid}: {report.longrepr[2] if report.longrepr else ''}")
