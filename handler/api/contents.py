"""What a model is to answer: messages and prompts, checked."""

from __future__ import annotations

from collections.abc import Mapping

from handler.api.members import Members, check_text, check_token_ids
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


Prompt = str | tuple[int, ...]
MAX_PROMPTS = 128


def parse_prompts(value: object, vocab_size: int) -> tuple[Prompt, ...]:
    """Check the prompts of a completion: a text, token ids, or an array of these.

    Raises:
        ApiError: It is refused; the error names the member and the bad value.
    """
    if value is None:
        raise MissingParameter("prompt")
    if not isinstance(value, list):
        return (check_text(value, "prompt", "a string or an array of token ids"),)
    if not value:
        raise InvalidValue("prompt", "a string or at least one token id", value)
    if not isinstance(value[0], str | list):
        return (check_token_ids(value, "prompt", vocab_size),)
    if len(value) > MAX_PROMPTS:
        raise InvalidValue("prompt", f"at most {MAX_PROMPTS} prompts", f"{len(value)} of them")
    return tuple(_prompt(prompt, f"prompt[{index}]", vocab_size) for index, prompt in enumerate(value))


def _prompt(value: object, path: str, vocab_size: int) -> Prompt:
    if not isinstance(value, list):
        return check_text(value, path, "a string or an array of token ids")
    if not value:
        raise InvalidValue(path, "at least one token id", value)
    return check_token_ids(value, path, vocab_size)
