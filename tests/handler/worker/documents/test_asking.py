from __future__ import annotations

import json
from email.header import Header
from typing import Any

import pytest

from handler.api.options import Served
from handler.artefact import SamplingDefaults
from handler.errors import ApiError, InstructionMissing, InvalidType, InvalidValue, ModelNotFound, UnsupportedParameter
from handler.worker.documents.asking import Asking, read_asking

SERVED = Served("owner/name", 100, SamplingDefaults())
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}


def asking(instruction: str | None = "Sum up.", /, defaults: Any = None, own: Any = None, **request: Any) -> Asking:
    metadata = {} if own is None else {"instruction": own}
    metadata |= {"request": json.dumps(request)} if request else {}
    return read_asking(metadata, instruction, defaults or {}, SERVED)


def test_the_objects_own_instruction_comes_before_the_deployments() -> None:
    assert asking("Sum up.", own="Classify.").instruction == "Classify."
    assert asking("Sum up.").instruction == "Sum up."
    assert asking("Sum up.", own=" ").instruction == "Sum up."


@pytest.mark.parametrize("instruction", [None, "", " "])
def test_without_an_instruction_nothing_is_done(instruction: str | None) -> None:
    with pytest.raises(InstructionMissing, match="FIREBRICK_DOCUMENT_INSTRUCTION"):
        asking(instruction)


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1"])
def test_what_s3_has_encoded_is_decoded(charset: str) -> None:
    text = "Fasse den Text für die Geschäftsführung zusammen, höchstens fünf Sätze, größte Zahlen zuerst."
    assert asking(own=Header(text, charset).encode()).instruction == text


@pytest.mark.parametrize("text", ["What is =?", "=?none?Q?x?=", "=?utf-8?B?x?="])
def test_what_only_looks_encoded_stays(text: str) -> None:
    assert asking(own=text).instruction == text


def test_text_comes_behind_the_instruction_and_the_system_message_before_both() -> None:
    request = asking("Sum up.", system="Be brief.").about("Once.", 7)
    assert request.messages == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Sum up.\n\nOnce."},
    )
    assert request.options.max_tokens == 7


def test_members_mean_what_they_mean_in_a_chat_and_the_objects_own_come_first() -> None:
    request = asking(defaults={"temperature": 0.5, "max_tokens": 9, "seed": 1}, max_tokens=8).request
    assert (request.options.max_tokens, request.options.sampling.temperature, request.options.sampling.seed) == (
        8,
        0.5,
        1,
    )


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({"max_tokens": "many"}, InvalidType),
        ({"temperature": 7}, InvalidValue),
        ({"model": "another"}, ModelNotFound),
        ({"messages": []}, UnsupportedParameter),
        ({"n": 2}, UnsupportedParameter),
        ({"stream": True}, UnsupportedParameter),
        ({"tools": [{}]}, UnsupportedParameter),
        ({"combine": "sum"}, InvalidValue),
        ({"system": 7}, InvalidType),
        ({"response_format": {"type": "xml"}}, ApiError),
    ],
)
def test_what_is_wrong_has_its_class(members: Any, error: type[ApiError]) -> None:
    with pytest.raises(error):
        asking(**members)


@pytest.mark.parametrize("text", ["{", "[]", "7", "\ud800"])
def test_metadata_that_is_no_object_is_named(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"metadata\.request"):
        read_asking({"request": text}, "Sum up.", {}, SERVED)


def test_objects_are_listed_and_texts_put_together_unless_the_request_says_otherwise() -> None:
    assert (asking().combine, asking(response_format=SCHEMA).combine) == ("model", "list")
    assert (asking(combine="list").combine, asking(response_format=SCHEMA, combine="model").combine) == (
        "list",
        "model",
    )


def test_to_put_together_there_is_an_instruction_of_its_own() -> None:
    [message] = asking("Sum up.").combining([" a \n", "b"], 7).messages
    assert message["content"].endswith("and add nothing.\n\nAnswer 1:\na\n\nAnswer 2:\nb")
    assert "Sum up." in message["content"]
    [message] = asking("Sum up.", combine_instruction="Join for {instruction}").combining(["a"], 7).messages
    assert message["content"] == "Join for Sum up.\n\nAnswer 1:\na"
