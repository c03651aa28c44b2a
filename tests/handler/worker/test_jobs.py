from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from hypothesis import given
from hypothesis import strategies as st

from handler.api.chat import ChatRequest
from handler.api.completions import CompletionRequest
from handler.api.embeddings import EmbeddingRequest
from handler.api.options import Served
from handler.artefact import Embeddings, SamplingDefaults
from handler.errors import (
    ApiError,
    EmbeddingsUnavailable,
    InvalidType,
    InvalidValue,
    MalformedJson,
    ModelNotFound,
    UnsupportedParameter,
)
from handler.worker.jobs import Job, invoke_job, message_job, message_values
from tests.handler.worker.messages import message

SERVED = Served("owner/name", 100, SamplingDefaults())
CHAT = {"messages": [{"role": "user", "content": "hi"}]}


def invoked(values: Any) -> Job:
    return invoke_job(values, "request-1", SERVED)


def sent(*arguments: Any, **others: Any) -> Job:
    return read(message(*arguments, **others))


def read(record: dict[str, Any]) -> Job:
    return message_job(SQSRecord(record), message_values(SQSRecord(record)), SERVED)


def test_messages_are_a_chat_and_a_prompt_is_a_completion() -> None:
    chat, completion = invoked(CHAT), invoked({"prompt": "hi"})
    assert isinstance(chat.request, ChatRequest)
    assert isinstance(completion.request, CompletionRequest)
    assert (chat.id, chat.source, chat.idempotency_key) == ("request-1", "invoke", None)


def test_an_input_is_an_embedding() -> None:
    served = Served("owner/name", 100, SamplingDefaults(), embeddings=Embeddings("mean", 4))
    assert isinstance(invoke_job({"input": "hi"}, "request-1", served).request, EmbeddingRequest)


@pytest.mark.parametrize("model", [{}, {"model": None}, {"model": "name"}])
def test_the_model_need_not_be_named(model: dict[str, Any]) -> None:
    assert invoked(CHAT | model).request.options.model == "owner/name"


@pytest.mark.parametrize(
    ("values", "error"),
    [
        (CHAT | {"model": "other"}, ModelNotFound),
        (CHAT | {"stream": True}, UnsupportedParameter),
        (CHAT | {"prompt": "hi"}, InvalidValue),
        ({"input": "hi"}, EmbeddingsUnavailable),
        (CHAT | {"temperature": float("nan")}, InvalidValue),
        ({"prompt": 7}, InvalidType),
        (CHAT | {"idempotency_key": 7}, InvalidType),
        (CHAT | {"idempotency_key": "a/b"}, InvalidValue),
        (CHAT | {"idempotency_key": ""}, InvalidValue),
        (CHAT | {"idempotency_key": ".."}, InvalidValue),
        (CHAT | {"idempotency_key": "ä"}, InvalidValue),
        (CHAT | {"idempotency_key": "a\n"}, InvalidValue),
        (CHAT | {"idempotency_key": "x" * 201}, InvalidValue),
    ],
)
def test_what_is_wrong_has_its_class(values: Any, error: type[ApiError]) -> None:
    with pytest.raises(error):
        invoked(values)


MEMBERS = ["model", "prompt", "messages", "idempotency_key", "max_tokens", "stream", "stop", "logprobs", "temperature"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), st.lists, max_leaves=4
)


@given(st.dictionaries(st.sampled_from(MEMBERS), JSON))
def test_any_object_is_a_job_or_refused(values: dict[str, Any]) -> None:
    with suppress(ApiError):
        assert invoked(values).request


def test_the_key_is_the_attribute_else_the_member_else_the_id() -> None:
    body, attributes = {"prompt": "hi", "idempotency_key": "member"}, {"idempotency_key": "attribute"}
    keys = [sent("id", body, attributes=attributes), sent("id", body), sent("id")]
    assert [job.idempotency_key for job in keys] == ["attribute", "member", "id"]


def test_an_attribute_that_is_no_text_is_refused() -> None:
    record = message("id")
    record["messageAttributes"]["idempotency_key"] = {"binaryValue": "AA==", "dataType": "Binary"}
    with pytest.raises(InvalidType):
        read(record)


def test_a_message_knows_how_long_it_waited() -> None:
    job = sent("id")
    assert job.sent_at == 1545082649.183
    assert (job.waited_ms(1545082650.183), job.waited_ms(1545082649.0)) == (1000.0, 0.0)
    assert invoked(CHAT).waited_ms(1545082650.0) is None


@pytest.mark.parametrize(
    "attributes", [{}, {"SentTimestamp": "soon"}, {"SentTimestamp": 7}, {"SentTimestamp": "9" * 99}]
)
def test_a_message_without_a_time_has_none(attributes: Any) -> None:
    assert read(message("id") | {"attributes": attributes}).sent_at is None


@pytest.mark.parametrize("body", ["", "{", "[]", "7", '{"prompt": NaN}', "\ud800", "[" * 100_000, "{}", "null"])
def test_a_body_that_is_no_request_is_refused(body: str) -> None:
    with pytest.raises(ApiError):
        sent("id", body)


def test_a_lone_surrogate_in_the_body_is_no_json() -> None:
    with pytest.raises(MalformedJson):
        sent("id", json.dumps({"prompt": "\ud800"}, ensure_ascii=False))
