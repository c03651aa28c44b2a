from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from image.local.aws import EndpointUnusable
from image.local.errors import OptionMisplaced
from image.local.event_source import EventSource, QueueUnusable, read_event_source
from image.local.qualifiers import Qualifiers
from image.local.settings import Queue, Settings
from tests.image.local.batches import attempts
from tests.image.local.conftest import Aws
from tests.image.local.lambda_process import FUNCTIONS, local_lambda, wait_until

LIVE = Qualifiers("1", ("live",))


@pytest.fixture(autouse=True)
def environ(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in aws.environ.items():
        monkeypatch.setenv(name, value)


def read(queue: Queue, **settings: Any) -> EventSource:
    return read_event_source(Settings(**settings), queue)


def test_without_a_mapping_the_defaults_hold(aws: Aws) -> None:
    url = aws.make_queue(VisibilityTimeout=90)
    source = read(Queue(url))
    assert (source.url, source.arn, source.visibility_s) == (url, aws.arn(url), 90.0)
    assert (source.batch_size, source.window_s, source.concurrency) == (10, 0, 5)
    assert (source.reports_failures, source.enabled, source.mapping, source.fifo) == (True, True, None, False)


def test_the_mapping_of_the_queue_and_the_alias(aws: Aws) -> None:
    url, name = aws.make_queue(), aws.deploy()
    aws.map(url, aws.deploy(), BatchSize=1)
    settings = {"BatchSize": 50, "MaximumBatchingWindowInSeconds": 3, "ScalingConfig": {"MaximumConcurrency": 2}}
    aws.map(url, f"{name}:live", FunctionResponseTypes=["ReportBatchItemFailures"], **settings)
    source = read(Queue(url), name=name, qualifiers=LIVE)
    assert (source.batch_size, source.window_s, source.concurrency, source.reports_failures) == (50, 3, 2, True)
    assert source.mapping is not None


def test_a_mapping_without_partial_failures_has_none(aws: Aws) -> None:
    url, name = aws.make_queue(), aws.deploy()
    aws.map(url, name)
    assert read(Queue(url), name=name).reports_failures is False


def test_the_command_line_wins(aws: Aws) -> None:
    url, name = aws.make_queue(), aws.deploy()
    aws.map(url, name, BatchSize=50, MaximumBatchingWindowInSeconds=3, ScalingConfig={"MaximumConcurrency": 2})
    source = read(Queue(url, batch_size=4, window_s=0, concurrency=1, reports_failures=True), name=name)
    assert (source.batch_size, source.window_s, source.concurrency, source.reports_failures) == (4, 0, 1, True)


def test_a_disabled_mapping_is_not_polled(aws: Aws) -> None:
    url, name = aws.make_queue(), aws.deploy()
    aws.map(url, name, Enabled=False)
    assert not read(Queue(url), name=name).enabled


@pytest.mark.parametrize(
    ("fifo", "options"), [(False, {"batch_size": 11}), (True, {"batch_size": 11}), (True, {"window_s": 1})]
)
def test_what_lambda_would_not_map(aws: Aws, fifo: bool, options: dict[str, int]) -> None:
    with pytest.raises(OptionMisplaced, match="--batch-"):
        read(Queue(aws.make_queue(fifo), **options))  # type: ignore[arg-type]


def test_a_queue_that_is_not_there(aws: Aws) -> None:
    url = aws.environ["AWS_ENDPOINT_URL"] + "/123456789012/nowhere"
    with pytest.raises(QueueUnusable, match="nowhere"):
        read(Queue(url))


def test_without_a_lambda_api_there_is_no_mapping(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    url = aws.make_queue()
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:1")
    assert read(Queue(url)).mapping is None
    with pytest.raises(EndpointUnusable, match="lambda"):
        read(Queue(url), deployed=True)


def test_a_deployed_functions_queue_is_served(aws: Aws, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    name = aws.deploy(MemorySize=512, Timeout=20, Environment={"Variables": {"JOURNAL": str(journal)}})
    queue = aws.make_queue()
    aws.map(queue, f"{name}:live", BatchSize=2)
    aws.send(queue, *({"name": str(number), "fail": True} for number in range(3)))
    given = ("--command", FUNCTIONS, "--deployed", f"{name}:live", "--queue", queue)
    with local_lambda(*given, **aws.environ) as running:
        wait_until(lambda: aws.left(queue) == 0)
        said = json.loads(running.wait_for(lambda line: line.startswith('{"event": "queue",')))
    assert attempts(journal) == [["0", "1"], ["2"]]
    assert (said["batch_size"], said["reports_failures"]) == (2, False)
    assert any(line.startswith("START") and line.endswith("Version: 1") for line in running.lines)
