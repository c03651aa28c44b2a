from __future__ import annotations

import os
from pathlib import Path

import pytest

from image.local.__main__ import main
from image.local.errors import OptionInvalid, OptionMisplaced, OptionMissing, ProgramMissing, StartError
from image.local.settings import Queue, read_settings


def test_defaults() -> None:
    settings = read_settings(["--command", "sh -c 'exit 1'"], {})
    assert settings.command == ("sh", "-c", "exit 1")
    assert (settings.memory_mb, settings.timeout_s, settings.concurrency) == (3008, 60.0, 1)
    assert (settings.url_auth, settings.invoke_mode, settings.network) == ("NONE", "RESPONSE_STREAM", "host")
    assert (settings.access_key, settings.region) == ("test", "us-east-1")


@pytest.mark.parametrize(("memory", "vcpus"), [(1769, 1.0), (10_240, 10_240 / 1769), (512, 512 / 1769)])
def test_memory_buys_processors(memory: int, vcpus: float) -> None:
    assert read_settings(["--image", "x", "--memory", str(memory)], {}).vcpus == vcpus


def test_a_container_has_a_network_of_its_own_where_we_are_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert read_settings(["--image", "x"], {}).network == "private"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert read_settings(["--image", "x"], {}).network == "host"


def test_variables() -> None:
    settings = read_settings(["--command", "sh", "--env", "A=b=c", "--env", "D="], {})
    assert settings.variables == {"A": "b=c", "D": ""}


def test_keys_and_region_come_from_the_environment() -> None:
    environ = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "eu-central-1"}
    settings = read_settings(["--command", "sh"], environ)
    assert (settings.access_key, settings.secret_key, settings.region) == ("a", "s", "eu-central-1")
    assert "'s'" not in repr(settings)


@pytest.mark.parametrize(
    "option",
    [
        *(["--memory", value] for value in ("127", "10241", "x", "1.5", "²")),
        *(["--timeout", value] for value in ("0", "901", "nan", "x")),
        *(["--concurrency", value] for value in ("0", "1001")),
        ["--port", "65536"],
        ["--name", "a b"],
        ["--reach", "9001"],
        ["--env", "A"],
        ["--env", "1=2"],
        ["--version", "$LATEST"],
        ["--alias", "7"],
        ["--ephemeral-storage", "511"],
        ["--queue", "jobs"],
        ["--async-retries", "3"],
        ["--max-event-age", "0"],
        ["--on-failure", ""],
    ],
)
def test_values_that_cannot_be_are_named(option: list[str]) -> None:
    with pytest.raises(OptionInvalid, match=option[0]) as caught:
        read_settings(["--command", "sh", *option], {})
    assert repr(option[1]) in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--image", "x", "--extension", "/bin/sh"],
        ["--command", "sh", "--cpus", "1"],
        ["--command", "sh", "--network", "host", "--reach", "5000"],
        ["--image", "x", "--network", "host", "--concurrency", "2"],
        ["--command", "sh", "--batch-size", "5"],
    ],
)
def test_options_that_do_not_go_together(arguments: list[str]) -> None:
    with pytest.raises(OptionMisplaced, match="--"):
        read_settings(arguments, {})


@pytest.mark.parametrize("arguments", [["--command", "/not/there x"], ["--command", "sh", "--extension", "/not/there"]])
def test_programs_that_are_not_there(arguments: list[str]) -> None:
    with pytest.raises(ProgramMissing, match="/not/there"):
        read_settings(arguments, {})


def test_a_file_that_cannot_be_executed(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(ProgramMissing, match="--extension"):
        read_settings(["--command", "sh", "--extension", str(tmp_path / "x")], {})


def test_a_command_line_that_is_none() -> None:
    with pytest.raises(OptionInvalid, match="--command"):
        read_settings(["--command", "sh 'x"], {})


def test_the_start_fails_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--command", "sh", "--memory", "1"], {}) == StartError.exit_code
    assert capsys.readouterr().err == "local Lambda: --memory '1' is not valid: expected an integer from 128 to 10240\n"


def test_neither_image_nor_command() -> None:
    with pytest.raises(OptionMissing, match="--image or --command"):
        read_settings([], {})


def test_an_alias_is_of_version_1() -> None:
    qualifiers = read_settings(["--command", "sh", "--alias", "live", "--alias", "live"], {}).qualifiers
    assert (qualifiers.version, qualifiers.aliases) == ("1", ("live",))


def test_a_queue() -> None:
    options = ["--batch-size", "20", "--batch-window", "2", "--batch-item-failures", "ignore"]
    settings = read_settings(["--command", "sh", "--queue", "http://127.0.0.1:5000/1/jobs", *options], {})
    assert settings.queue == Queue("http://127.0.0.1:5000/1/jobs", 20, 2, None, False)
