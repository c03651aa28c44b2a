"""Event invokes that fail, and where they end."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from tests.image.local.conftest import Aws
from tests.image.local.lambda_process import FUNCTIONS, local_lambda, wait_until

ARN = "arn:aws:lambda:us-east-1:123456789012:function:firebrick"
FAILING = {"do": "raise", "message": "no"}
AT_ONCE = ("--async-retry-delay", "0")


def run(aws: Aws, queue: str, event: dict[str, Any], *arguments: str) -> tuple[dict[str, Any], list[str], str]:
    """Invoke with an event; return the one message that the queue gets, the log, and the request's id."""
    with local_lambda("--command", FUNCTIONS, *arguments, **aws.environ) as running:
        asked = {"FunctionName": "firebrick", "InvocationType": "Event", "Payload": json.dumps(event)}
        answer = running.client().invoke(**asked)
        wait_until(lambda: aws.left(queue) == 1)
        return aws.receive(queue)[0], running.lines, answer["ResponseMetadata"]["RequestId"]


def test_an_event_that_fails_is_tried_three_times_and_then_recorded(aws: Aws) -> None:
    queue = aws.make_queue()
    message, lines, request_id = run(aws, queue, FAILING, "--on-failure", aws.arn(queue), *AT_ONCE)
    record = json.loads(message["Body"])
    assert record["requestContext"] == {
        "requestId": request_id,
        "functionArn": ARN + ":$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    }
    assert (record["version"], record["requestPayload"]) == ("1.0", FAILING)
    assert record["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": "Unhandled",
    }
    assert record["responsePayload"]["errorType"] == "ValueError"
    assert sum(line.startswith(f"START RequestId: {request_id}") for line in lines) == 3


def test_a_dead_letter_queue_gets_the_event_itself(aws: Aws) -> None:
    queue = aws.make_queue()
    message, _, request_id = run(aws, queue, FAILING, "--dead-letter-queue", queue, "--async-retries", "0")
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert json.loads(message["Body"]) == FAILING
    assert attributes == {"RequestID": request_id, "ErrorCode": "200", "ErrorMessage": "no"}


def test_a_time_out_is_tried_again(aws: Aws) -> None:
    queue = aws.make_queue()
    event = {"do": "wait", "here": "/dev/null", "there": "/not/there"}
    arguments = ("--on-failure", queue, "--timeout", "0.5", "--async-retries", "1", *AT_ONCE)
    record = json.loads(run(aws, queue, event, *arguments)[0]["Body"])
    assert record["requestContext"]["approximateInvokeCount"] == 2
    assert "Task timed out" in record["responsePayload"]["errorMessage"]


def test_a_success_is_recorded(aws: Aws) -> None:
    queue = aws.make_queue()
    record = json.loads(run(aws, queue, {"a": 1}, "--on-success", queue, "--alias", "live")[0]["Body"])
    assert record["requestContext"]["condition"] == "Success"
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST"}
    assert record["responsePayload"]["event"] == {"a": 1}


def test_an_event_that_gets_too_old_while_it_is_throttled(aws: Aws, tmp_path: Path) -> None:
    failed, dead = aws.make_queue(), aws.make_queue()
    arguments = ("--on-failure", failed, "--dead-letter-queue", dead, "--max-event-age", "1")
    waiting = {"do": "wait", "here": str(tmp_path / "here"), "there": str(tmp_path / "there")}
    with local_lambda("--command", FUNCTIONS, *arguments, **aws.environ) as running:
        busy = threading.Thread(target=lambda: running.invoke(waiting))
        busy.start()
        wait_until((tmp_path / "here").exists)
        running.client().invoke(FunctionName="firebrick", InvocationType="Event", Payload=b"{}")
        wait_until(lambda: aws.left(failed) == aws.left(dead) == 1)
        (tmp_path / "there").touch()
        busy.join()
    record = json.loads(aws.receive(failed)[0]["Body"])
    assert record["requestContext"]["condition"] == "EventAgeExceeded"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert aws.receive(dead)[0]["MessageAttributes"]["ErrorCode"]["StringValue"] == "429"


def test_an_event_that_gets_too_old_between_retries(aws: Aws) -> None:
    queue = aws.make_queue()
    arguments = ("--on-failure", queue, "--max-event-age", "2", "--async-retry-delay", "600")
    context = json.loads(run(aws, queue, FAILING, *arguments)[0]["Body"])["requestContext"]
    assert (context["condition"], context["approximateInvokeCount"]) == ("EventAgeExceeded", 1)
