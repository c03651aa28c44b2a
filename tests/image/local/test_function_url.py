"""The function URL against a runtime client that streams, and against awslambdaric."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from image.local.limits import REQUEST_BYTES
from tests.image.local.lambda_process import FUNCTIONS, STREAMER, LocalLambda, local_lambda

PRELUDE = {"statusCode": 201, "headers": {"x-mine": "1", "x-many": ["a", "b"]}, "cookies": ["c=d; Path=/"]}
STREAMED = {"prelude": PRELUDE, "chunks": ["one ", "two"]}


@pytest.fixture(scope="module")
def streaming() -> Iterator[LocalLambda]:
    with local_lambda("--command", STREAMER, "--timeout", "30") as running:
        yield running


@pytest.fixture(scope="module")
def buffered() -> Iterator[LocalLambda]:
    with local_lambda("--command", FUNCTIONS, "--invoke-mode", "BUFFERED", "--timeout", "30") as running:
        yield running


def test_status_headers_cookies_and_body_of_a_stream(streaming: LocalLambda) -> None:
    answer = httpx.post(streaming.url, json=STREAMED)
    assert (answer.status_code, answer.text) == (201, "one two")
    assert (answer.headers["x-mine"], answer.headers.get_list("x-many")) == ("1", ["a", "b"])
    assert answer.cookies["c"] == "d"
    assert answer.headers["transfer-encoding"] == "chunked"
    assert len(answer.headers["x-amzn-requestid"]) == 36


def test_a_chunk_arrives_before_the_next_is_made(streaming: LocalLambda, tmp_path: Path) -> None:
    received = tmp_path / "received"
    with httpx.stream("POST", streaming.url, json={**STREAMED, "wait_before_last": str(received)}) as answer:
        chunks = answer.iter_bytes()
        assert next(chunks) == b"one "
        received.touch()
        assert b"".join(chunks) == b"two"


def test_a_stream_may_be_larger_than_a_buffered_response(streaming: LocalLambda) -> None:
    answer = httpx.post(streaming.url, json={**STREAMED, "chunks": ["x" * 1024] * 7 + ["."], "times": 1024}, timeout=60)
    assert len(answer.content) == 7 * 2**20 + 1


def test_a_stream_without_a_prelude(streaming: LocalLambda) -> None:
    answer = httpx.post(streaming.url, json={"chunks": ["a", "b"], "content_type": "text/plain"})
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, "ab", "text/plain")


def test_a_stream_that_lacks_its_prelude(streaming: LocalLambda) -> None:
    answer = httpx.post(streaming.url, json={"chunks": ["a", "b"]})
    assert (answer.status_code, answer.text) == (502, "Internal Server Error")


@pytest.mark.parametrize(
    "fault", [{"die": 1}, {"close": True}, {"error": {"errorType": "Function.Mine", "errorMessage": "no"}}]
)
def test_a_failure_in_mid_stream_cuts_the_answer(streaming: LocalLambda, fault: dict[str, object]) -> None:
    with (
        httpx.stream("POST", streaming.url, json={**STREAMED, **fault}) as answer,
        pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"),
    ):
        answer.read()
    assert answer.status_code == 201
    assert httpx.post(streaming.url, json=STREAMED).text == "one two"


def test_a_response_that_breaks_off(streaming: LocalLambda) -> None:
    payload, _ = streaming.invoke({"chunks": ["a", "b"], "close": True})
    assert payload["errorType"] == "Runtime.TruncatedResponse"


def test_trailers_reach_the_invoke_api(streaming: LocalLambda) -> None:
    event = {"chunks": ["a", "b"], "error": {"errorType": "Function.Mine", "errorMessage": "no"}}
    answer = streaming.client().invoke_with_response_stream(FunctionName="firebrick", Payload=json.dumps(event))
    *chunks, complete = list(answer["EventStream"])
    assert [chunk["PayloadChunk"]["Payload"] for chunk in chunks] == [b"a", b"b"]
    assert complete["InvokeComplete"]["ErrorCode"] == "Function.Mine"


def test_the_function_goes_on_without_its_client(streaming: LocalLambda, tmp_path: Path) -> None:
    gone, reports = tmp_path / "gone", sum(line.startswith("REPORT") for line in streaming.lines)
    address = urlsplit(streaming.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    event = json.dumps({**STREAMED, "wait_before_last": str(gone)})
    connection.request("POST", "/", event, {"content-type": "application/json"})
    response = connection.getresponse()
    assert response.read1(4) == b"one "
    response.close()
    connection.close()
    gone.touch()
    assert "Status" not in streaming.report(reports + 1)


def test_a_request_that_is_too_large(streaming: LocalLambda) -> None:
    answer = httpx.post(streaming.url, content=b"x" * (REQUEST_BYTES + 1))
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (413, "RequestTooLargeException")


def test_a_request_that_is_too_large_in_base64(streaming: LocalLambda) -> None:
    answer = httpx.post(streaming.url, content=b"\xff" * (REQUEST_BYTES * 4 // 5))
    assert answer.status_code == 413


def test_the_event(buffered: LocalLambda) -> None:
    answer = httpx.put(f"{buffered.url}a%20b/c?x=1&x=2&y=", content="text", headers={"Cookie": "a=b; c=d"})
    event = answer.json()["event"]
    assert (event["version"], event["rawPath"], event["rawQueryString"]) == ("2.0", "/a%20b/c", "x=1&x=2&y=")
    assert (event["queryStringParameters"], event["cookies"]) == ({"x": "1,2", "y": ""}, ["a=b", "c=d"])
    assert event["requestContext"]["http"]["method"] == "PUT"
    assert event["requestContext"]["requestId"] == answer.headers["x-amzn-requestid"]
    assert event["requestContext"]["accountId"] == "anonymous"


@pytest.mark.parametrize(
    ("response", "status", "text"),
    [
        ({"statusCode": 404, "body": "no", "headers": {"X-A": "b"}}, 404, "no"),
        ({"statusCode": 200, "body": "aGk=", "isBase64Encoded": True}, 200, "hi"),
        ({"any": "thing"}, 200, '{"any": "thing"}'),
        ("text", 200, "text"),
        ({"statusCode": "wrong"}, 502, "Internal Server Error"),
    ],
)
def test_buffered_responses(buffered: LocalLambda, response: object, status: int, text: str) -> None:
    answer = httpx.post(buffered.url, json={"do": "response", "response": response})
    assert (answer.status_code, answer.text) == (status, text)


def test_a_function_that_fails() -> None:
    with local_lambda("--command", "sh -c 'exit 2'", "--invoke-mode", "BUFFERED") as running:
        answer = httpx.get(running.url)
    assert (answer.status_code, answer.text) == (502, "Internal Server Error")


@pytest.fixture(scope="module")
def signed() -> Iterator[LocalLambda]:
    with local_lambda("--command", STREAMER, "--url-auth", "AWS_IAM") as running:
        yield running


def test_an_unsigned_request(signed: LocalLambda) -> None:
    answer = httpx.post(signed.url, json=STREAMED)
    assert (answer.status_code, answer.json()) == (403, {"Message": "Forbidden"})
    assert answer.headers["x-amzn-errortype"] == "AccessDeniedException"


@pytest.mark.parametrize(("secret", "status"), [("test", 201), ("other", 403)])
def test_a_request_signed_by_botocore(signed: LocalLambda, secret: str, status: int) -> None:
    request = AWSRequest("POST", f"{signed.url}a%20b?x=1&a=%2F", {"X-Mine": "1"}, json.dumps(STREAMED))
    request.headers["Content-Type"] = "application/json"
    SigV4Auth(Credentials("test", secret), "lambda", "us-east-1").add_auth(request)
    answer = httpx.request("POST", request.url, headers=dict(request.headers), content=request.data)
    assert answer.status_code == status


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_a_request_signed_by_curl(signed: LocalLambda) -> None:
    command = ["curl", "-sN", "--aws-sigv4", "aws:amz:us-east-1:lambda", "--user", "test:test", "--json"]
    answer = subprocess.run([*command, json.dumps(STREAMED), signed.url], capture_output=True, text=True, check=True)
    assert answer.stdout == "one two"
