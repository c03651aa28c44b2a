from __future__ import annotations

from pathlib import Path

import pytest

from handler.errors import SettingsError
from handler.settings import S3Prefix, read_settings


def test_defaults_are_those_of_the_dataclass() -> None:
    settings = read_settings({"FIREBRICK_MODEL_DIR": "/m"})
    assert (settings.model_dir, settings.port, settings.queue) == (Path("/m"), 8080, 8)


def test_the_adapters_port_wins_over_port() -> None:
    environ = {"FIREBRICK_MODEL_DIR": "/m", "AWS_LWA_PORT": "1", "PORT": "2"}
    assert read_settings(environ).port == 1


def test_the_command_line_wins_over_the_environment() -> None:
    assert read_settings({"FIREBRICK_MODEL_DIR": "/m", "PORT": "2"}, port="3").port == 3


def test_empty_means_not_set() -> None:
    assert read_settings({"FIREBRICK_MODEL_DIR": "/m", "PORT": "", "FIREBRICK_API_KEY": ""}).api_key is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PORT", "http"),
        ("PORT", "70000"),
        ("FIREBRICK_QUEUE", "-1"),
        ("FIREBRICK_QUEUE", "²"),
        ("FIREBRICK_MAX_BODY", "0"),
        ("FIREBRICK_MAX_TOKENS", "0"),
        ("FIREBRICK_VERIFY", "no"),
        ("FIREBRICK_LOG_TEXT", "yes"),
        ("FIREBRICK_POPULATE", "on"),
        ("FIREBRICK_MAX_TOKENS_CAP", "0"),
        ("FIREBRICK_MAX_RESPONSE", "1"),
        ("FIREBRICK_IDLE_S", "0"),
        ("FIREBRICK_HEAD_S", "0"),
        ("FIREBRICK_HEARTBEAT_S", "-1"),
        ("FIREBRICK_HEARTBEAT_S", "0.001"),
        ("FIREBRICK_CONNECTIONS", "0"),
        ("FIREBRICK_CORS_ORIGINS", "example.org"),
        ("FIREBRICK_CORS_ORIGINS", "https://example.org/"),
        ("FIREBRICK_CORS_ORIGINS", "https://Example.org"),
        ("FIREBRICK_CORS_ORIGINS", "https://*.example.org"),
        ("FIREBRICK_CORS_ORIGINS", "*,https://example.org"),
        ("FIREBRICK_CORS_ORIGINS", "https://example.org,"),
        ("FIREBRICK_CORS_ORIGINS", "https://example.org:443"),
        ("FIREBRICK_CORS_ORIGINS", "http://example.org:80"),
        ("FIREBRICK_CORS_ORIGINS", "https://bücher.example"),
        ("FIREBRICK_CORS_ORIGINS", "https://user@example.org"),
        ("FIREBRICK_CORS_ORIGINS", "https://example.org?x"),
        ("FIREBRICK_DEADLINE_MARGIN_MS", "-1"),
        ("FIREBRICK_DEADLINE_MARGIN_MS", "1.5"),
        ("FIREBRICK_RESULTS_BUCKET", "s3://results"),
        ("FIREBRICK_RESULTS_BUCKET", "Results"),
        ("FIREBRICK_INPUT_BUCKET", "s3://input"),
        ("FIREBRICK_DOCUMENT_REQUEST", "{"),
        ("FIREBRICK_DOCUMENT_REQUEST", "[]"),
        ("FIREBRICK_DOCUMENT_MAX_BYTES", "0"),
        ("FIREBRICK_SHUTDOWN_GRACE_S", "nan"),
        ("FIREBRICK_SHUTDOWN_GRACE_S", "soon"),
        ("FIREBRICK_PREFILL_CHUNK", "1e3"),
        ("FIREBRICK_SLOTS", "0"),
        ("FIREBRICK_KEEP_ALIVE_S", "0"),
        ("FIREBRICK_QUEUE_URL", "jobs"),
        ("FIREBRICK_QUEUE_BATCH", "11"),
        ("FIREBRICK_QUEUE_TIMEOUT_S", "0"),
        ("FIREBRICK_QUEUE_VISIBILITY_S", "2"),
        ("FIREBRICK_QUEUE_WAIT_S", "21"),
        ("FIREBRICK_SLOTS", "65"),
        ("FIREBRICK_SLOTS", "all"),
        ("FIREBRICK_PREFIX_CACHE", "on"),
        ("FIREBRICK_LOOKUP", "false"),
        ("FIREBRICK_API_KEY_SECRET", "a secret"),
        ("FIREBRICK_API_KEY_SECRET", "arn:aws:s3:::bucket"),
        ("FIREBRICK_API_KEY_SECRET", "arn:aws:secretsmanager:us-east-1:1:secret:x"),
        ("FIREBRICK_API_KEY_TTL_S", "0"),
        ("POWERTOOLS_METRICS_DISABLED", "maybe"),
        ("POWERTOOLS_METRICS_NAMESPACE", ":x"),
        ("POWERTOOLS_METRICS_NAMESPACE", "x" * 256),
        ("POWERTOOLS_SERVICE_NAME", " "),
    ],
)
def test_a_bad_value_is_named_with_its_key(key: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({"FIREBRICK_MODEL_DIR": "/m", key: value})
    assert key in str(caught.value)
    assert repr(value) in str(caught.value)


def test_another_library_of_kernels_can_be_named() -> None:
    settings = read_settings({"FIREBRICK_MODEL_DIR": "/m", "FIREBRICK_KERNELS": "/k.so", "FIREBRICK_POPULATE": "0"})
    assert (settings.kernels, settings.populate) == (Path("/k.so"), False)


@pytest.mark.parametrize("slots", [1, 4, 64])
def test_slots_can_be_named(slots: int) -> None:
    assert read_settings({"FIREBRICK_MODEL_DIR": "/m", "FIREBRICK_SLOTS": str(slots)}).slots == slots


@pytest.mark.parametrize("name", ["prefix_cache", "lookup"])
def test_a_switch_is_on_unless_it_is_turned_off(name: str) -> None:
    key = f"FIREBRICK_{name.upper()}"
    found = [getattr(read_settings({"FIREBRICK_MODEL_DIR": "/m", key: value}), name) for value in ("", "1", "0")]
    assert found == [True, True, False]


@pytest.mark.parametrize(
    ("value", "origins"),
    [
        ("*", ("*",)),
        ("https://example.org, http://localhost:3000", ("https://example.org", "http://localhost:3000")),
        ("tauri://localhost", ("tauri://localhost",)),
        (
            "http://[::1]:8080,https://xn--bcher-kva.example:8443",
            ("http://[::1]:8080", "https://xn--bcher-kva.example:8443"),
        ),
    ],
)
def test_origins_have_commas_between(value: str, origins: tuple[str, ...]) -> None:
    assert read_settings({"FIREBRICK_MODEL_DIR": "/m", "FIREBRICK_CORS_ORIGINS": value}).cors_origins == origins


def test_lambda_says_that_it_is_lambda() -> None:
    assert read_settings({"FIREBRICK_MODEL_DIR": "/m", "AWS_LAMBDA_FUNCTION_NAME": "f"}).function_name == "f"
    assert read_settings({"FIREBRICK_MODEL_DIR": "/m"}).function_name is None


def test_a_bad_option_is_named_as_it_was_given() -> None:
    with pytest.raises(SettingsError, match="--port='x'"):
        read_settings({"FIREBRICK_MODEL_DIR": "/m"}, port="x")


def test_an_api_key_that_no_header_can_carry_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({"FIREBRICK_MODEL_DIR": "/m", "FIREBRICK_API_KEY": "geheim\n"})
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "id", ["firebrick/api-key", "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:x-AbCdEf"]
)
def test_a_secret_is_a_name_or_an_arn(id: str) -> None:
    assert read_settings({"FIREBRICK_MODEL_DIR": "/m", "FIREBRICK_API_KEY_SECRET": id}).api_key_secret == id


def test_a_key_and_a_secret_at_once_are_refused() -> None:
    environ = {"FIREBRICK_MODEL_DIR": "/m", "FIREBRICK_API_KEY": "geheim", "FIREBRICK_API_KEY_SECRET": "name"}
    with pytest.raises(SettingsError, match=r"FIREBRICK_API_KEY_SECRET='name' .* FIREBRICK_API_KEY is set") as caught:
        read_settings(environ)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(("value", "disabled"), [("true", True), ("True", True), ("1", True), ("false", False)])
def test_powertools_words_turn_metrics_off(value: str, disabled: bool) -> None:
    environ = {"FIREBRICK_MODEL_DIR": "/m", "POWERTOOLS_METRICS_DISABLED": value}
    assert read_settings(environ).metrics_disabled == disabled


@pytest.mark.parametrize(
    ("value", "bucket", "prefix"),
    [
        ("s3://models/demo/7", "models", "demo/7"),
        ("s3://models/demo/7/", "models", "demo/7"),
        ("s3://my.models", "my.models", ""),
        ("s3://models/", "models", ""),
        ("s3://models/a b", "models", "a b"),
    ],
)
def test_a_model_may_lie_in_s3(value: str, bucket: str, prefix: str) -> None:
    at = read_settings({"FIREBRICK_MODEL_DIR": value}).model_dir
    assert at == S3Prefix(bucket, prefix)
    assert str(at) == value.rstrip("/")
    assert at.key("x") == f"{prefix}/x".lstrip("/")


@pytest.mark.parametrize(
    "value",
    ["s3:", "s3://", "s3://A", "S3://models/x", "s3://m/x", "s3://models/../x", "s3://models/a//b", "s3://models/\n"],
)
def test_what_is_no_place_in_s3_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="s3://BUCKET/PREFIX"):
        read_settings({"FIREBRICK_MODEL_DIR": value})


def test_a_model_directory_is_required() -> None:
    with pytest.raises(SettingsError, match="FIREBRICK_MODEL_DIR"):
        read_settings({})


# ---------------------------------------------------------------- where results go

QUEUE_URL = "https://sqs.us-east-1.amazonaws.com/123456789012/results"


@pytest.mark.parametrize(
    ("environ", "results"),
    [
        ({}, ("s3",)),
        ({"FIREBRICK_RESULTS": "s3"}, ("s3",)),
        ({"FIREBRICK_RESULTS": "sqs", "FIREBRICK_RESULTS_QUEUE_URL": QUEUE_URL}, ("sqs",)),
        ({"FIREBRICK_RESULTS": "events", "FIREBRICK_RESULTS_BUS": "default"}, ("events",)),
        (
            {
                "FIREBRICK_RESULTS": "s3, sqs,events",
                "FIREBRICK_RESULTS_QUEUE_URL": f"{QUEUE_URL}.fifo",
                "FIREBRICK_RESULTS_BUS": "arn:aws:events:us-east-1:123456789012:event-bus/mine",
            },
            ("s3", "sqs", "events"),
        ),
    ],
)
def test_results_have_destinations(environ: dict[str, str], results: tuple[str, ...]) -> None:
    given = {"FIREBRICK_MODEL_DIR": "/m", "FIREBRICK_RESULTS_BUCKET": "results", **environ}
    assert read_settings(given).results == results


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"FIREBRICK_RESULTS": "sns"}, "FIREBRICK_RESULTS=.*sns"),
        ({"FIREBRICK_RESULTS": "sqs"}, "FIREBRICK_RESULTS_QUEUE_URL"),
        ({"FIREBRICK_RESULTS": "events"}, "FIREBRICK_RESULTS_BUS"),
        ({"FIREBRICK_RESULTS_QUEUE_URL": QUEUE_URL}, "FIREBRICK_RESULTS_QUEUE_URL=.*left out"),
        ({"FIREBRICK_RESULTS_BUS": "default"}, "FIREBRICK_RESULTS_BUS=.*left out"),
        ({"FIREBRICK_RESULTS": "sqs", "FIREBRICK_RESULTS_QUEUE_URL": "results"}, "FIREBRICK_RESULTS_QUEUE_URL=.*URL"),
        ({"FIREBRICK_RESULTS": "events", "FIREBRICK_RESULTS_BUS": "a bus"}, "FIREBRICK_RESULTS_BUS=.*bus"),
        (
            {"FIREBRICK_RESULTS": "events", "FIREBRICK_RESULTS_BUS": "b", "FIREBRICK_RESULTS_BUCKET": ""},
            "FIREBRICK_RESULTS_BUCKET",
        ),
    ],
)
def test_what_a_destination_needs_must_be_there_and_no_more(environ: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        read_settings({"FIREBRICK_MODEL_DIR": "/m", "FIREBRICK_RESULTS_BUCKET": "results", **environ})


@pytest.mark.parametrize("value", ["snapshot/before", "/before?x", "/be fore"])
def test_a_hook_is_a_path(value: str) -> None:
    with pytest.raises(SettingsError, match="AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH"):
        read_settings({"FIREBRICK_MODEL_DIR": "/m", "AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH": value})
