from __future__ import annotations

import json
from typing import Any

import pytest

from handler.errors import InvocationMalformed
from handler.invocation import LAMBDA_CONTEXT, REQUEST_CONTEXT, Invocation, read_invocation

# As adapter 0.9.1 writes them.
CONTEXT = {
    "request_id": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
    "deadline": 1_542_409_706_888,
    "invoked_function_arn": "arn:aws:lambda:us-east-1:123456789012:function:firebrick",
    "xray_trace_id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
    "client_context": None,
    "identity": None,
    "env_config": {"function_name": "firebrick", "memory": 10240, "version": "$LATEST"},
}
SIGNED = {"authorizer": {"iam": {"userArn": "arn:aws:iam::123456789012:user/mara"}}, "http": {"method": "POST"}}


def read(context: Any, request: Any = SIGNED) -> Invocation:
    headers = [(b"host", b"x"), (LAMBDA_CONTEXT, json.dumps(context).encode())]
    return read_invocation([*headers, (REQUEST_CONTEXT, json.dumps(request).encode())], margin_s=2)


def test_what_the_adapter_writes_is_read() -> None:
    invocation = read(CONTEXT)
    assert invocation.request_id == CONTEXT["request_id"]
    assert invocation.deadline is not None
    assert invocation.deadline.at == pytest.approx(1_542_409_704.888)
    assert invocation.trace_id == CONTEXT["xray_trace_id"]
    assert invocation.caller == "arn:aws:iam::123456789012:user/mara"
    assert not invocation.event


def test_without_headers_there_is_no_invocation() -> None:
    assert read_invocation([(b"host", b"x")], 1) == Invocation()


@pytest.mark.parametrize("request_context", [{}, {"authorizer": {}}, {"authorizer": {"iam": None}}, {"authorizer": 1}])
def test_an_unsigned_request_has_no_caller(request_context: Any) -> None:
    assert read(CONTEXT, request_context).caller is None


def test_what_is_no_http_request_is_an_event() -> None:
    assert read(CONTEXT, None).event


@pytest.mark.parametrize(
    "change",
    [
        {"deadline": -1},
        {"deadline": 0},
        {"deadline": 10**400},
        {"deadline": True},
        {"deadline": "soon"},
        {"deadline": 1.5},
        {"deadline": None},
        {"request_id": None},
        {"request_id": "a b"},
        {"request_id": "a\r\nset-cookie: b"},
        {"request_id": "x" * 65},
    ],
)
def test_a_bad_member_is_named(change: dict[str, Any]) -> None:
    with pytest.raises(InvocationMalformed, match=next(iter(change))):
        read(CONTEXT | change)


@pytest.mark.parametrize("header", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 60_000, b"7"])
def test_a_header_that_is_no_object_is_refused(header: bytes) -> None:
    with pytest.raises(InvocationMalformed, match="x-amzn-lambda-context"):
        read_invocation([(LAMBDA_CONTEXT, header)], 1)
