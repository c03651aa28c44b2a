"""boto3 against a function under awslambdaric."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import httpx
import pytest

from image.local.limits import EVENT_BYTES, REQUEST_BYTES, RESPONSE_BYTES
from tests.image.local.lambda_process import FUNCTIONS, LocalLambda, local_lambda, wait_until


@pytest.fixture(scope="module")
def running() -> Iterator[LocalLambda]:
    with local_lambda("--command", FUNCTIONS, "--memory", "512", "--timeout", "30", "--env", "MINE=yes") as running:
        yield running


def error_code(caught: pytest.ExceptionInfo[botocore.exceptions.ClientError]) -> str:
    return str(caught.value.response["Error"]["Code"])


def test_an_invoke(running: LocalLambda) -> None:
    answer = running.client().invoke(FunctionName="firebrick", Payload=b'{"a": 1}')
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    payload = json.loads(answer["Payload"].read())
    assert payload["event"] == {"a": 1}
    assert payload["request_id"] == answer["ResponseMetadata"]["RequestId"]


def test_the_environment_stays(running: LocalLambda) -> None:
    assert running.invoke({})[0]["pid"] == running.invoke({})[0]["pid"]


def test_the_last_log_lines(running: LocalLambda) -> None:
    answer = running.client().invoke(FunctionName="firebrick", Payload=b'{"b": 2}', LogType="Tail")
    tail = base64.b64decode(answer["LogResult"]).decode().splitlines()
    assert tail[0].startswith("START RequestId: ")
    assert "echoing {'b': 2}" in tail
    assert tail[-1].startswith("REPORT RequestId: ")


def test_a_function_that_raises(running: LocalLambda) -> None:
    payload, error = running.invoke({"do": "raise", "message": "no"})
    assert error == "Unhandled"
    assert (payload["errorType"], payload["errorMessage"]) == ("ValueError", "no")


def test_the_variables_that_lambda_sets(running: LocalLambda) -> None:
    variables, _ = running.invoke({"do": "environment"})
    assert variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "512"
    assert variables["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
    assert variables["AWS_LAMBDA_LOG_GROUP_NAME"] == "/aws/lambda/firebrick"
    assert variables["_X_AMZN_TRACE_ID"].startswith("Root=1-")
    assert (variables["TZ"], variables["MINE"]) == (":UTC", "yes")
    assert "AWS_EXECUTION_ENV" not in variables


def test_the_context(running: LocalLambda) -> None:
    client_context = base64.b64encode(b'{"custom": {"k": "v"}}').decode()
    context, _ = running.invoke({"do": "context"}, ClientContext=client_context)
    assert 0 < context["remaining_ms"] <= 30_000
    assert context["arn"] == "arn:aws:lambda:us-east-1:123456789012:function:firebrick"
    assert (context["memory"], context["custom"]) == ("512", {"k": "v"})


def test_an_asynchronous_invoke(running: LocalLambda, tmp_path: Path) -> None:
    done = tmp_path / "done"
    event = json.dumps({"do": "touch", "path": str(done)})
    answer = running.client().invoke(FunctionName="firebrick", InvocationType="Event", Payload=event)
    assert answer["StatusCode"] == 202
    wait_until(done.exists)


def test_a_dry_run(running: LocalLambda) -> None:
    answer = running.client().invoke(FunctionName="firebrick", InvocationType="DryRun", Payload=b"{}")
    assert answer["StatusCode"] == 204


@pytest.mark.parametrize("name", ["firebrick:$LATEST", "arn:aws:lambda:us-east-1:123456789012:function:firebrick"])
def test_names_of_the_function(running: LocalLambda, name: str) -> None:
    assert running.client().invoke(FunctionName=name, Payload=b"{}")["StatusCode"] == 200


@pytest.mark.parametrize(("name", "qualifier"), [("other", "$LATEST"), ("firebrick", "7")])
def test_a_function_that_is_not_there(running: LocalLambda, name: str, qualifier: str) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match="Function not found: arn:aws") as caught:
        running.client().invoke(FunctionName=name, Qualifier=qualifier, Payload=b"{}")
    assert error_code(caught) == "ResourceNotFoundException"


def test_a_payload_that_is_not_json(running: LocalLambda) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match="Could not parse request body into json") as caught:
        running.client().invoke(FunctionName="firebrick", Payload=b"{")
    assert error_code(caught) == "InvalidRequestContentException"


@pytest.mark.parametrize(("kind", "limit"), [("RequestResponse", REQUEST_BYTES), ("Event", EVENT_BYTES)])
def test_a_payload_that_is_too_large(running: LocalLambda, kind: str, limit: int) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match=f"must be smaller than {limit} bytes") as caught:
        running.client().invoke(FunctionName="firebrick", InvocationType=kind, Payload=json.dumps("x" * limit))
    assert error_code(caught) == "RequestTooLargeException"


def test_a_response_that_is_too_large(running: LocalLambda) -> None:
    payload, error = running.invoke({"do": "large", "size": RESPONSE_BYTES})
    assert error == "Unhandled"
    assert payload["errorType"] == "Function.ResponseSizeTooLarge"
    assert str(RESPONSE_BYTES) in payload["errorMessage"]
    assert running.invoke({})[1] is None


def test_a_response_of_the_largest_size(running: LocalLambda) -> None:
    payload, error = running.invoke({"do": "large", "size": RESPONSE_BYTES - 2})
    assert (len(payload), error) == (RESPONSE_BYTES - 2, None)


def test_a_client_context_that_is_not_one(running: LocalLambda) -> None:
    path = "/2015-03-31/functions/firebrick/invocations"
    answer = httpx.post(running.api + path, headers={"X-Amz-Client-Context": "{}"})
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (400, "InvalidParameterValueException")


def test_a_path_that_is_not_there(running: LocalLambda) -> None:
    answer = httpx.get(f"{running.api}/2015-03-31/functions")
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (404, "UnknownOperationException")


def test_a_buffered_function_as_a_stream(running: LocalLambda) -> None:
    answer = running.client().invoke_with_response_stream(FunctionName="firebrick", Payload=b'{"c": 3}', LogType="Tail")
    *chunks, complete = list(answer["EventStream"])
    payload = json.loads(b"".join(chunk["PayloadChunk"]["Payload"] for chunk in chunks))
    assert payload["event"] == {"c": 3}
    assert "ErrorCode" not in complete["InvokeComplete"]
    assert b"REPORT" in base64.b64decode(complete["InvokeComplete"]["LogResult"])


def test_a_failure_in_a_stream(running: LocalLambda) -> None:
    event = json.dumps({"do": "raise", "message": "no"})
    answer = running.client().invoke_with_response_stream(FunctionName="firebrick", Payload=event)
    [complete] = list(answer["EventStream"])
    assert complete["InvokeComplete"]["ErrorCode"] == "ValueError"
    assert json.loads(complete["InvokeComplete"]["ErrorDetails"])["errorMessage"] == "no"


def test_throttling_and_the_queue_of_events(running: LocalLambda, tmp_path: Path) -> None:
    here, there, done = tmp_path / "here", tmp_path / "there", tmp_path / "done"
    results: list[Any] = []
    waiting = {"do": "wait", "here": str(here), "there": str(there)}
    busy = threading.Thread(target=lambda: results.append(running.invoke(waiting)))
    busy.start()
    wait_until(here.exists)
    with pytest.raises(botocore.exceptions.ClientError, match="Rate Exceeded") as caught:
        running.invoke({})
    event = json.dumps({"do": "touch", "path": str(done)})
    running.client().invoke(FunctionName="firebrick", InvocationType="Event", Payload=event)
    there.touch()
    busy.join()
    wait_until(done.exists)
    assert error_code(caught) == "TooManyRequestsException"
    assert caught.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert results[0][1] is None


def test_two_environments_at_once(tmp_path: Path) -> None:
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    results: list[Any] = []
    with local_lambda("--command", FUNCTIONS, "--concurrency", "2") as running:
        events = [{"do": "wait", "here": one, "there": two}, {"do": "wait", "here": two, "there": one}]
        threads = [threading.Thread(target=lambda e=event: results.append(running.invoke(e))) for event in events]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({pid for pid, _ in results}) == 2


def test_a_trace_id_of_any_characters(running: LocalLambda) -> None:
    path = "/2015-03-31/functions/firebrick/invocations"
    answer = httpx.post(running.api + path, headers={b"X-Amzn-Trace-Id": b"Root=\xe4"}, json={})
    assert answer.status_code == 200
    assert running.invoke({})[1] is None
