"""The real process with a real artefact, behind a Runtime API; results in moto's S3."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.handler.emf import metrics_of
from tests.handler.worker.conftest import BUCKET
from tests.handler.worker.messages import batch, failed, http, message
from tests.handler.worker.runtime_api import Lambda
from tests.kernels.models import LIBRARY, needs_library

CHAT = {"messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": 8, "temperature": 0}

BUCKET_SETTINGS = {"FIREBRICK_RESULTS_BUCKET": "x-y", "AWS_REGION": "eu-central-1"}


@pytest.fixture(scope="module")
def plain(demo_artefact: Path) -> Iterator[Lambda]:
    """A function without a bucket."""
    with Lambda(FIREBRICK_MODEL_DIR=str(demo_artefact), FIREBRICK_DEADLINE_MARGIN_MS="0") as function:
        yield function


@pytest.fixture
def storing(demo_artefact: Path, s3_environ: dict[str, str]) -> Iterator[Lambda]:
    """A function with a bucket."""
    with Lambda(FIREBRICK_MODEL_DIR=str(demo_artefact), **s3_environ) as function:
        yield function


def kept(s3: Any) -> dict[str, Any]:
    items = s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {item["Key"]: json.load(s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"]) for item in items}


def test_a_chat_is_answered(plain: Lambda) -> None:
    answer = plain.invoke(CHAT)
    assert answer["model"] == "firebrick-demo"
    assert answer["text"]
    assert answer["finish_reason"] in ("stop", "length")
    assert answer["usage"]["completion_tokens"] <= 8
    assert answer["timings"]["prefill_ms"] > 0


def test_the_same_prompt_has_the_same_answer(plain: Lambda) -> None:
    request = {"prompt": "Once", "temperature": 0}
    assert plain.invoke(request)["text"] == plain.invoke(request)["text"]


def test_a_refused_request_is_an_error_with_the_name_of_its_class(plain: Lambda) -> None:
    error = plain.failure(CHAT | {"temperature": "hot"})
    assert (error["errorType"], error["stackTrace"]) == ("InvalidType", [])
    assert error["errorMessage"] == "temperature must be a number, got 'hot'"


def test_a_function_urls_request_has_a_response(plain: Lambda) -> None:
    chat = http("POST", "/v1/chat/completions", json.dumps(CHAT | {"model": "firebrick-demo"}))
    health, answer, result = plain.invoke(http()), plain.invoke(chat), plain.invoke(CHAT)
    assert (health["statusCode"], json.loads(health["body"])) == (200, {"status": "ok"})
    assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, False)
    assert json.loads(answer["body"])["choices"][0]["message"]["content"] == result["text"]


@pytest.mark.parametrize("event", [{}, [], "x", 7, None, {"Records": []}, {"Records": [{"eventSource": "aws:s3"}]}])
def test_an_unknown_event_is_refused(plain: Lambda, event: Any) -> None:
    assert plain.failure(event)["errorType"] == "UnknownEvent"


def test_messages_need_a_bucket(plain: Lambda) -> None:
    error = plain.failure(batch(message("m1")))
    assert error["errorType"] == "ResultsBucketMissing"
    assert "FIREBRICK_RESULTS_BUCKET" in error["errorMessage"]


def test_no_token_before_the_deadline_is_an_error(plain: Lambda) -> None:
    assert plain.failure(CHAT, time_out_s=0)["errorType"] == "DeadlineExceeded"
    assert plain.invoke(CHAT)


def test_log_and_metrics_are_json_lines_that_name_the_invocation(plain: Lambda) -> None:
    plain.invoke(CHAT)
    invocation = plain.begin(CHAT)
    invocation.outcome.get(timeout=60)
    plain.invoke(CHAT)
    [line] = [line for line in plain.logged("answered") if line["request_id"] == invocation.id]
    assert (line["source"], line["service"], line["job"]) == ("invoke", "firebrick-worker", invocation.id)
    assert "Tell me" not in "".join(plain.lines)
    lines = [metrics_of(line) for line in plain.metrics()]
    assert all({"Answers", "PromptTokens", "PrefillTime", "FirstTokenTime"} <= line.keys() for line in lines[-2:])
    ready = plain.logged("ready")[0]
    assert ready["model"] == "firebrick-demo"
    assert [line.get("ReadyTime") for line in lines] == [[ready["ready_ms"]], *[None] * (len(lines) - 1)]
    assert [line.get("ColdStart") for line in lines] == [[1], *[None] * (len(lines) - 1)]


def test_only_failed_messages_come_back(storing: Lambda, s3: Any) -> None:
    answer = storing.invoke(batch(message("m1", CHAT), message("poison", "{"), message("m3", {"prompt": "Once"})))
    assert failed(answer) == ["poison"]
    results = kept(s3)
    assert set(results) == {"results/m1.json", "results/m3.json"}
    assert results["results/m1.json"]["text"] == storing.invoke(CHAT)["text"]


def test_a_batch_killed_in_its_middle_goes_on_where_it_was(
    demo_artefact: Path, s3_environ: dict[str, str], s3: Any
) -> None:
    event = batch(*(message(f"m{n}", CHAT | {"max_tokens": 100}) for n in range(10)))
    with Lambda(FIREBRICK_MODEL_DIR=str(demo_artefact), **s3_environ) as function:
        function.begin(event)
        while not kept(s3):
            assert function.process.poll() is None
        assert function.end() == -9
    before = kept(s3)
    with Lambda(FIREBRICK_MODEL_DIR=str(demo_artefact), **s3_environ) as function:
        assert failed(function.invoke(event)) == []
        assert len(function.logged("repeated")) == len(before)
    after = kept(s3)
    assert len(after) == 10
    assert {key: after[key] for key in before} == before


def test_what_is_not_whole_before_the_deadline_comes_back(storing: Lambda, s3: Any, demo_artefact: Path) -> None:
    ends = json.loads((demo_artefact / "firebrick.json").read_text())["tokenizer"]["eos_token_ids"]
    request = CHAT | {"max_tokens": 500, "logit_bias": {str(id): -100 for id in ends}}
    ids = [f"m{n}" for n in range(20)]
    back = failed(storing.invoke(batch(*(message(id, request) for id in ids)), time_out_s=2))
    results = kept(s3)
    assert back
    assert set(results) == {f"results/{id}.json" for id in ids if id not in back}
    assert all(result["usage"]["completion_tokens"] == 500 for result in results.values())


def test_a_function_that_was_frozen_goes_on(storing: Lambda, s3: Any) -> None:
    assert failed(storing.invoke(batch(message("m1", CHAT)))) == []
    storing.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, storing.process.pid, os.WSTOPPED)
    invocation = storing.begin(batch(message("m2", CHAT)))
    storing.process.send_signal(signal.SIGCONT)
    assert invocation.outcome.get(timeout=60) == ("response", {"batchItemFailures": []})
    assert len(kept(s3)) == 2


def test_an_invoke_with_a_key_is_answered_once(storing: Lambda, s3: Any) -> None:
    event = CHAT | {"idempotency_key": "order-1", "temperature": 1}
    first = storing.invoke(event)
    assert storing.invoke(event) == first
    assert kept(s3) == {"results/order-1.json": first}


def test_a_traced_invocation_sends_a_segment(demo_artefact: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(60)
        address = f"127.0.0.1:{daemon.getsockname()[1]}"
        environ = {"AWS_XRAY_DAEMON_ADDRESS": address, "LAMBDA_TASK_ROOT": str(tmp_path)}
        with Lambda(FIREBRICK_MODEL_DIR=str(demo_artefact), **environ) as function:
            trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled={}"
            function.invoke(CHAT, trace_id=trace.format(0))
            function.invoke(CHAT, trace_id=trace.format(1))
            _, segment = daemon.recv(65_536).split(b"\n")
    assert json.loads(segment)["name"] == "answer"
    assert json.loads(segment)["trace_id"] == "1-5759e988-bd862e3fe1be46a994272793"


def test_each_answer_of_a_traced_batch_is_a_segment_of_its_own(
    demo_artefact: Path, s3_environ: dict[str, str], s3: Any, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(60)
        address = f"127.0.0.1:{daemon.getsockname()[1]}"
        environ = {"AWS_XRAY_DAEMON_ADDRESS": address, "LAMBDA_TASK_ROOT": str(tmp_path), **s3_environ}
        with Lambda(FIREBRICK_MODEL_DIR=str(demo_artefact), FIREBRICK_SLOTS="4", **environ) as function:
            trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
            messages = [message(f"m{n}", CHAT | {"max_tokens": 100 + 30 * n}) for n in range(3)]
            function.invoke(batch(*messages), trace_id=trace)
            segments = [json.loads(daemon.recv(65_536).split(b"\n")[1]) for _ in messages]
    assert [segment["name"] for segment in segments] == ["answer"] * 3
    assert {segment["parent_id"] for segment in segments} == {"53995c3f42cd8ad8"}
    assert not any("subsegments" in segment for segment in segments)


@needs_library
@pytest.mark.parametrize(("megabytes", "slots"), [("1000", 1), ("1769", 8)])
def test_without_a_number_there_are_as_many_slots_as_memory_allows(native: Path, megabytes: str, slots: int) -> None:
    environ = {"FIREBRICK_KERNELS": str(LIBRARY), "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": megabytes}
    with Lambda(FIREBRICK_MODEL_DIR=str(native), **environ) as function:
        function.invoke(CHAT)
        assert function.logged("ready")[0]["slots"] == slots


# ---------------------------------------------------------------- a start that fails


@pytest.mark.parametrize(
    ("environ", "error", "named"),
    [
        ({"FIREBRICK_MODEL_DIR": ""}, "SettingsError", "FIREBRICK_MODEL_DIR"),
        ({"FIREBRICK_MODEL_DIR": "/nowhere"}, "ArtefactMissing", "/nowhere"),
        ({"FIREBRICK_RESULTS_BUCKET": "s3://x"}, "SettingsError", "s3://x"),
        (BUCKET_SETTINGS | {"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}, "SettingsError", "AWS_REGION"),
        (BUCKET_SETTINGS | {"AWS_ENDPOINT_URL_S3": "?"}, "SettingsError", "endpoint"),
        ({"FIREBRICK_DOCUMENT_REQUEST": '{"max_tokens": 0}'}, "SettingsError", "max_tokens"),
    ],
)
def test_a_start_that_fails_is_an_init_error_without_a_traceback(
    demo_artefact: Path, environ: dict[str, str], error: str, named: str
) -> None:
    with Lambda(**{"FIREBRICK_MODEL_DIR": str(demo_artefact), "HOME": "/nowhere", **environ}) as function:
        report = function.init_error.get(timeout=60)
        assert function.process.wait(60) == 1
    assert (report["errorType"], report["stackTrace"]) == (error, [])
    assert named in report["errorMessage"]
    assert "File " not in "".join(function.lines)


def test_a_model_in_s3_is_loaded_into_memory(demo_artefact: Path, s3: Any, s3_environ: dict[str, str]) -> None:
    for path in demo_artefact.iterdir():
        s3.put_object(Bucket=BUCKET, Key=f"models/demo/{path.name}", Body=path.read_bytes())
    with Lambda(FIREBRICK_MODEL_DIR=f"s3://{BUCKET}/models/demo", **s3_environ) as function:
        assert function.invoke(CHAT)["text"]
        assert function.logged("ready")[0]["download_bytes"] > 2_000_000
