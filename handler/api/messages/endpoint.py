"""The paths of Anthropic's messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from handler.api.endpoint import Answer, Calculation, Endpoint
from handler.api.forms import following
from handler.api.members import Members
from handler.api.messages.answer import MessageAnswer
from handler.api.messages.errors import told_error
from handler.api.messages.request import parse_conversation, parse_form, parse_message
from handler.api.options import Served, parse_options
from handler.api.prompt import Prompts
from handler.errors import ApiError

if TYPE_CHECKING:
    from handler.api.schemas import Description


def count_tokens(values: Mapping[str, Any], served: Served, prompts: Prompts) -> dict[str, Any]:
    """Count the tokens that messages would give the model.

    Raises:
        ApiError: The messages are refused, or their prompt is.
    """
    members = Members(values)
    options = parse_options(members, served, max_tokens=None, top_logprobs=None)
    grammar = following(options, parse_form(members)).grammar
    return {"input_tokens": len(parse_conversation(members).prompt_ids(prompts, grammar))}


def _failure(error: ApiError, answer: Answer) -> bytes:
    assert isinstance(answer, MessageAnswer)
    return answer.failed(error)


def _describe() -> Description:
    from handler.api.messages.description import describe  # Start-up doesn't need it.

    return describe()


def _describe_count() -> Description:
    from handler.api.messages.description import describe_count  # Start-up doesn't need it.

    return describe_count()


MESSAGES = Endpoint("/v1/messages", parse_message, _describe, told_error, _failure)
MESSAGE_COUNT = Calculation("/v1/messages/count_tokens", count_tokens, _describe_count, told_error)
