"""The paths of responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from handler.api.endpoint import Answer, Calculation, Endpoint
from handler.api.options import Served
from handler.api.prompt import Prompts
from handler.api.responses.answer import ResponseAnswer
from handler.api.responses.request import parse_response
from handler.errors import ApiError

if TYPE_CHECKING:
    from handler.api.schemas import Description


def count_input(values: Mapping[str, Any], served: Served, prompts: Prompts) -> dict[str, Any]:
    """Count the tokens that a request would give the model.

    Raises:
        ApiError: The request is refused, or its prompt is.
    """
    request = parse_response(values, served)
    ids = request.conversation.prompt_ids(prompts, request.options.grammar)
    return {"object": "response.input_tokens", "input_tokens": len(ids)}


def _failure(error: ApiError, answer: Answer) -> bytes:
    assert isinstance(answer, ResponseAnswer)
    return answer.failed(error)


def _describe() -> Description:
    from handler.api.responses.description import describe  # Start-up doesn't need it.

    return describe()


def _describe_count() -> Description:
    from handler.api.responses.description import describe_count  # Start-up doesn't need it.

    return describe_count()


RESPONSES = Endpoint("/v1/responses", parse_response, _describe, failure=_failure)
RESPONSE_COUNT = Calculation("/v1/responses/input_tokens", count_input, _describe_count)
