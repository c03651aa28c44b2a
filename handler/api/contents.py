"""What a model is to answer: messages and prompts, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from handler.api.members import Members, check_text, check_token_ids, parse_object
from handler.api.texts import parse_text
from handler.errors import (
    InvalidType,
    InvalidValue,
    MalformedJson,
    MissingParameter,
    NotAnObject,
)

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
RESULTS = ("tool", "function")
# Types of parts, and which member has the text.
TEXT = {"text": "text"}
SAID = {"text": "text", "refusal": "refusal"}
Message = dict[str, Any]


def parse_message(value: object, path: str) -> Message:
    """Check one message of a chat.

    Args:
        value: What the request has at that place.
        path: The place, for errors.

    Returns:
        As chat templates take it: `role` and `content`, a text; an assistant's `reasoning_content`, its `tool_calls`
        with objects as arguments; a tool's `tool_call_id` and `name`.

    Raises:
        ApiError: It is refused; the error names the member and the bad value.
    """
    if not isinstance(value, dict):
        raise InvalidType(path, "an object", value)
    members = Members(value, f"{path}.")
    role = members.text("role")
    if role is None:
        raise MissingParameter(f"{path}.role")
    members.refuse("audio", "audio is not supported")
    if role in RESULTS:
        return _result(members, role, path)
    if role not in ROLES:
        raise InvalidValue(f"{path}.role", f"one of {', '.join((*ROLES, *RESULTS))}", role)
    if role == "assistant":
        return _assistant(members, path)
    members.refuse("tool_calls", "only the assistant calls tools", [])
    members.refuse("function_call", "only the assistant calls functions")
    return {"role": ROLES[role], "content": _content(members.get("content"), f"{path}.content")}


def _result(members: Members, role: str, path: str) -> Message:
    """What a tool has given back."""
    named = "tool_call_id" if role == "tool" else "name"
    text = members.text(named)
    if text is None:
        raise MissingParameter(f"{path}.{named}")
    content = _content(members.get("content"), f"{path}.content")
    if role == "function":
        return {"role": "tool", "content": content, "tool_call_id": _function_id(text), "name": text}
    name = members.text("name")
    return {"role": "tool", "content": content, "tool_call_id": text, **({} if name is None else {"name": name})}


def _assistant(members: Members, path: str) -> Message:
    calls = [_call(call, f"{path}.tool_calls[{index}]") for index, call in enumerate(members.array("tool_calls") or [])]
    function = members.mapping("function_call")
    if function is not None:
        named = _function(Members(function, f"{path}.function_call."), f"{path}.function_call")
        calls.append({"id": _function_id(named["name"]), "type": "function", "function": named})
    reasoning = members.text("reasoning_content") or members.text("reasoning")
    content, refusal = members.get("content"), members.text("refusal")
    # Templates put texts together: null would be an error, or the word None.
    silent = content is None and (calls or reasoning or refusal is not None)
    text = (refusal or "") if silent else _content(content, f"{path}.content", SAID)
    return {
        "role": "assistant",
        "content": text,
        **({"reasoning_content": reasoning} if reasoning else {}),
        **({"tool_calls": calls} if calls else {}),
    }


def _function_id(name: str) -> str:
    """The older form has no ids: a function's result is its last call's."""
    return f"call_{name}"


def _call(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidType(path, "an object", value)
    members = Members(value, f"{path}.")
    if members.get("type") is not None:
        members.kind(("function",), "calls")
    id, function = members.text("id"), members.mapping("function")
    if id is None:
        raise MissingParameter(f"{path}.id")
    if function is None:
        raise MissingParameter(f"{path}.function")
    named = _function(Members(function, f"{path}.function."), f"{path}.function")
    return {"id": id, "type": "function", "function": named}


def _function(members: Members, path: str) -> dict[str, Any]:
    name = members.text("name")
    if name is None:
        raise MissingParameter(f"{path}.name")
    return {"name": name, "arguments": parse_arguments(members.get("arguments"), f"{path}.arguments")}


def parse_arguments(value: object, path: str) -> dict[str, Any]:
    """Read a call's arguments, which are JSON in a string, or an object as some clients send it.

    Raises:
        InvalidValue: They are none.
    """
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        try:
            parsed = parse_object(value.encode(errors="replace"))
        except (MalformedJson, NotAnObject):
            raise InvalidValue(path, "a string with a JSON object", value) from None
        return parsed
    if not isinstance(value, dict):
        raise InvalidType(path, "a string with a JSON object", value)
    return value


def _content(value: object, path: str, kinds: Mapping[str, str] = TEXT) -> str:
    if value == []:
        raise InvalidValue(path, "at least one part", value)
    return parse_text(value, path, kinds)


Prompt = str | tuple[int, ...]
MAX_PROMPTS = 128


def parse_prompts(value: object, vocab_size: int) -> tuple[Prompt, ...]:
    """Check the prompts of a completion: a text, token ids, or an array of these.

    Raises:
        ApiError: It is refused; the error names the member and the bad value.
    """
    return texts_or_ids(value, "prompt", vocab_size, f"at most {MAX_PROMPTS} prompts", MAX_PROMPTS, text_or_no_ids)


def text_or_no_ids(value: object, path: str) -> str:
    """Return a text that stands where token ids might, too."""
    return check_text(value, path, "a string or an array of token ids")


def texts_or_ids(
    value: object, param: str, vocab_size: int, bound: str, most: int, check: Callable[[object, str], str]
) -> tuple[Prompt, ...]:
    """Check a member that is a text, token ids, or an array of these.

    Args:
        value: What the request has there.
        param: The member.
        vocab_size: What ids are below.
        bound: What an error says of `most`.
        most: Elements of the array.
        check: Returns a text that may be there, given its path, or refuses it.

    Raises:
        ApiError: It is refused; the error names the member and the bad value.
    """
    if value is None:
        raise MissingParameter(param)
    if not isinstance(value, list):
        return (check(value, param),)
    if not value:
        raise InvalidValue(param, "a string or at least one token id", value)
    if not isinstance(value[0], str | list):
        return (check_token_ids(value, param, vocab_size),)
    if len(value) > most:
        raise InvalidValue(param, bound, f"{len(value)} of them")
    return tuple(_text_or_ids(one, f"{param}[{index}]", vocab_size, check) for index, one in enumerate(value))


def _text_or_ids(value: object, path: str, vocab_size: int, check: Callable[[object, str], str]) -> Prompt:
    if not isinstance(value, list):
        return check(value, path)
    if not value:
        raise InvalidValue(path, "at least one token id", value)
    return check_token_ids(value, path, vocab_size)
