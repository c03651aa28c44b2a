"""The members that say how a chat template writes a conversation down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from handler.api.members import Members
from handler.errors import InvalidValue

Opening = Literal["answer", "message", "nothing"]


def parse_opening(members: Members, last_role: object) -> Opening:
    """Find out what the model is to go on with.

    Args:
        members: The body's.
        last_role: Who has written the last message.

    Returns:
        A new answer, as usual; the last message, which the assistant has begun; or nothing that the template announces.

    Raises:
        InvalidValue: Both are wanted, or somebody else has written the last message.
    """
    answer = members.boolean("add_generation_prompt")
    if not members.boolean("continue_final_message"):
        return "nothing" if answer is False else "answer"
    if answer:
        raise InvalidValue("continue_final_message", "false where add_generation_prompt is true", True)
    if last_role != "assistant":
        raise InvalidValue("continue_final_message", "true only where the last message is the assistant's", True)
    return "message"


def parse_variables(members: Members) -> Mapping[str, Any]:
    """Collect what the request gives the template beside the messages."""
    variables: dict[str, Any] = {}
    effort = members.text("reasoning_effort")
    thinking = members.boolean("enable_thinking")
    if effort is not None:
        variables["reasoning_effort"] = effort
        if effort == "none":
            variables["enable_thinking"] = False
    if thinking is not None:
        variables["enable_thinking"] = thinking
    return variables | (members.mapping("chat_template_kwargs") or {})
