"""What a model is to answer: messages and prompts, checked."""

from __future__ import annotations

from collections.abc import Mapping

from handler.api.members import Members, check_text
from handler.errors import InvalidType, InvalidValue, MissingParameter, UnsupportedParameter

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


def parse_message(value: object, path: str) -> Mapping[str, str]:
    """Check one message of a chat.

    Args:
        value: What the request has at that place.
        path: The place, for errors.

    Returns:
        `{"role", "content"}`, as chat templates take them.

    Raises:
        ApiError: It is refused; the error names the member and the bad value.
    """
    if not isinstance(value, dict):
        raise InvalidType(path, "an object", value)
    members = Members(value, f"{path}.")
    role = members.text("role")
    if role is None:
        raise MissingParameter(f"{path}.role")
    if role in ("tool", "function"):
        raise UnsupportedParameter(f"{path}.role", "tools are not supported yet", role)
    if role not in ROLES:
        raise InvalidValue(f"{path}.role", f"one of {', '.join(ROLES)}", role)
    members.refuse("tool_calls", "tools are not supported yet", [])
    members.refuse("function_call", "functions are not supported yet")
    members.refuse("audio", "audio is not supported")
    return {"role": ROLES[role], "content": _content(members.get("content"), f"{path}.content")}


def _content(value: object, path: str) -> str:
    if value is None:
        raise MissingParameter(path)
    if not isinstance(value, list):
        return check_text(value, path, "a string or an array of parts")
    if not value:
        raise InvalidValue(path, "at least one part", value)
    # Parts are paragraphs: vLLM and llama.cpp join them in the same way.
    return "\n".join(_text_part(part, f"{path}[{index}]") for index, part in enumerate(value))


def _text_part(value: object, path: str) -> str:
    if not isinstance(value, dict):
        raise InvalidType(path, "an object", value)
    members = Members(value, f"{path}.")
    kind = members.text("type")
    if kind is None:
        raise MissingParameter(f"{path}.type")
    if kind != "text":
        raise UnsupportedParameter(f"{path}.type", "only parts of type 'text' are supported", kind)
    text = members.text("text")
    if text is None:
        raise MissingParameter(f"{path}.text")
    return text


def parse_prompt(value: object, vocab_size: int) -> str | tuple[int, ...]:
    """Check the prompt of a completion: a text, token ids, or an array of one of these.

    Raises:
        ApiError: It is refused; the error names the member and the bad value.
    """
    if value is None:
        raise MissingParameter("prompt")
    if not isinstance(value, list):
        return check_text(value, "prompt", "a string or an array of token ids")
    if not value:
        raise InvalidValue("prompt", "a string or at least one token id", value)
    if isinstance(value[0], str | list):
        if len(value) > 1:
            raise UnsupportedParameter("prompt", "several prompts in one request are not supported", value)
        return check_text(value[0], "prompt[0]") if isinstance(value[0], str) else _ids(value[0], vocab_size)
    return _ids(value, vocab_size)


def _ids(values: list[object], vocab_size: int) -> tuple[int, ...]:
    if not values:
        raise InvalidValue("prompt[0]", "at least one token id", values)
    ids = []
    for index, value in enumerate(values):
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidType(f"prompt[{index}]", "a token id", value)
        if not 0 <= value < vocab_size:
            raise InvalidValue(f"prompt[{index}]", f"a token id below {vocab_size}", value)
        ids.append(value)
    return tuple(ids)
