from __future__ import annotations

import pytest

from image.local.__main__ import main
from image.local.deployed import Deployed
from image.local.errors import OptionInvalid
from image.local.settings import Settings, read_settings
from tests.image.local.conftest import Aws

COMMAND = ["--command", "sh"]


@pytest.fixture(autouse=True)
def environ(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in aws.environ.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def function(aws: Aws) -> str:
    name = aws.deploy(
        MemorySize=1769, Timeout=7, EphemeralStorage={"Size": 1024}, Environment={"Variables": {"A": "b=c", "D": "e"}}
    )
    failures = {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:123456789012:failed"}}
    aws.functions.create_function_url_config(FunctionName=name, AuthType="AWS_IAM", InvokeMode="BUFFERED")
    aws.functions.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=1, MaximumEventAgeInSeconds=60, DestinationConfig=failures
    )
    aws.functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    return name


def read(*arguments: str) -> Settings:
    return read_settings([*COMMAND, *arguments], {})


def test_a_deployed_alias(function: str) -> None:
    settings = read("--deployed", f"{function}:live")
    assert (settings.name, settings.deployed) == (function, True)
    assert (settings.memory_mb, settings.timeout_s, settings.storage_mb, settings.concurrency) == (1769, 7.0, 1024, 3)
    assert settings.variables == {"A": "b=c", "D": "e"}
    assert (settings.qualifiers.version, settings.qualifiers.aliases) == ("1", ("live",))
    assert (settings.url_auth, settings.invoke_mode) == ("AWS_IAM", "BUFFERED")
    asynchronous = settings.asynchronous
    assert (asynchronous.retries, asynchronous.max_age_s) == (1, 60.0)
    assert asynchronous.on_failure == "arn:aws:sqs:us-east-1:123456789012:failed"


@pytest.mark.parametrize(("qualifier", "served"), [("", "$LATEST"), (":$LATEST", "$LATEST"), (":1", "1")])
def test_a_deployed_version(function: str, qualifier: str, served: str) -> None:
    assert read("--deployed", function + qualifier).qualifiers.served.version == served


def test_options_win(function: str) -> None:
    given = ["--memory", "512", "--concurrency", "1", "--url-auth", "NONE", "--on-failure", "none", "--name", "mine"]
    settings = read("--deployed", function, *given, "--env", "A=mine")
    assert (settings.memory_mb, settings.concurrency, settings.url_auth, settings.name) == (512, 1, "NONE", "mine")
    assert settings.variables == {"A": "mine", "D": "e"}
    assert settings.asynchronous.on_failure is None
    assert settings.timeout_s == 7.0


def test_what_a_function_has_no_settings_for_keeps_its_default(aws: Aws) -> None:
    settings = read("--deployed", aws.deploy())
    assert (settings.url_auth, settings.invoke_mode, settings.concurrency) == ("NONE", "RESPONSE_STREAM", 1)
    assert settings.asynchronous == Settings().asynchronous


def test_the_image_is_the_deployed_one_if_none_is_named(function: str) -> None:
    settings = read_settings(["--deployed", function, "--concurrency", "1"], {})
    assert settings.image == f"123456789012.dkr.ecr.us-east-1.amazonaws.com/{function}:latest"


def test_a_dead_letter_queue() -> None:  # moto doesn't tell it.
    arn = "arn:aws:sqs:us-east-1:123456789012:dead"
    configuration = {"FunctionName": "f", "Version": "$LATEST", "DeadLetterConfig": {"TargetArn": arn}}
    presets = Deployed(configuration, None, None, {}, {}, None).presets()
    assert presets == {"name": "f", "dead_letter_queue": arn, "env": [], "alias": []}


@pytest.mark.parametrize("text", ["", "a b", "f:", "f:a b"])
def test_texts_that_name_no_function(text: str) -> None:
    with pytest.raises(OptionInvalid, match="--deployed"):
        read("--deployed", text)


def line_of_failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*COMMAND, *arguments], {}) == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


def test_no_such_function(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--deployed 'nobody' is not there" in line_of_failure(capsys, "--deployed", "nobody")


def test_no_such_alias(function: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{function}:other" in line_of_failure(capsys, "--deployed", f"{function}:other")


def test_no_credentials(function: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/not/there")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/not/there")
    assert "set AWS_ACCESS_KEY_ID" in line_of_failure(capsys, "--deployed", function)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "nonsense"])
def test_no_endpoint(endpoint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    line = line_of_failure(capsys, "--deployed", "f")
    assert "cannot call lambda" in line
    assert endpoint in line


@pytest.mark.parametrize(("version", "snapshot"), [("3", True), ("$LATEST", False)])
def test_snapshots_are_of_published_versions(version: str, snapshot: bool) -> None:
    configuration = {"FunctionName": "f", "Version": version, "SnapStart": {"ApplyOn": "PublishedVersions"}}
    presets = Deployed(configuration, None, None, {}, {}, None).presets()
    assert ("snapstart" in presets) == snapshot
