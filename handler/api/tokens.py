"""/tokenize, /detokenize and /apply-template, in the forms of llama.cpp's and vLLM's servers: no engine is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from handler.api.chat import parse_chat
from handler.api.endpoint import Calculation
from handler.api.members import Members, check_token_ids
from handler.api.options import Served
from handler.api.prompt import Prompts
from handler.api.rendering import parse_opening, parse_variables
from handler.errors import InvalidValue, MissingParameter
from handler.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from handler.api.schemas import Description

TEXTS = ("content", "prompt", "messages")


def tokenize(values: Mapping[str, Any], served: Served, prompts: Prompts) -> dict[str, Any]:
    """Encode a text, or the messages of a chat.

    A `content` is llama.cpp's and gets no BOS unless `add_special` asks for it; a `prompt` is vLLM's and gets one
    unless `add_special_tokens` is false.

    Raises:
        ApiError: A member is refused; the error names it and the bad value.
    """
    members = Members(values)
    ids = _encode(members, values, served, prompts)
    tokenizer = prompts.tokenizer
    pieces = members.boolean("with_pieces") or False
    answer: dict[str, Any] = {
        "tokens": [{"id": id, "piece": _piece(tokenizer, id)} for id in ids] if pieces else list(ids),
        "count": len(ids),
        "max_model_len": prompts.context_length,
    }
    if members.boolean("return_token_strs"):
        answer["token_strs"] = [tokenizer.token_bytes(id).decode(errors="replace") for id in ids]
    return answer


def _encode(members: Members, values: Mapping[str, Any], served: Served, prompts: Prompts) -> Sequence[int]:
    given = [name for name in TEXTS if members.get(name) is not None]
    if not given:
        raise MissingParameter("content")
    if len(given) > 1:
        raise InvalidValue(given[1], f"left out where there is a {given[0]}", members.get(given[1]))
    # Types are checked of what the messages of a chat have no use for, too.
    older, newer = members.boolean("add_special"), members.boolean("add_special_tokens")
    special = members.boolean("parse_special") is not False
    if given == ["messages"]:
        return parse_chat(values, served).prompt_ids(prompts)
    text = members.text(given[0]) or ""
    parse_opening(members, None)  # which a text has no use for
    parse_variables(members)
    if next((value for value in (older, newer) if value is not None), given == ["prompt"]):
        return prompts.tokenizer.encode_prompt(text, given[0])
    return prompts.tokenizer.encode(text, special=special, param=given[0])


def _piece(tokenizer: Tokenizer, id: int) -> str | list[int]:
    raw = tokenizer.token_bytes(id)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return list(raw)  # a part of a character, as llama.cpp writes it


def detokenize(values: Mapping[str, Any], served: Served, prompts: Prompts) -> dict[str, Any]:
    """Decode token ids; special tokens give their names.

    Raises:
        ApiError: A member is refused; the error names it and the bad value.
    """
    tokens = Members(values).array("tokens")
    if tokens is None:
        raise MissingParameter("tokens")
    ids = check_token_ids(tokens, "tokens", served.vocab_size)
    text = prompts.tokenizer.decode_bytes(ids, special=True).decode(errors="replace")
    return {"content": text, "prompt": text}


def apply_template(values: Mapping[str, Any], served: Served, prompts: Prompts) -> dict[str, Any]:
    """Write the messages of a chat down as its model would read them.

    Raises:
        ApiError: A member is refused; the error names it and the bad value.
    """
    request = parse_chat(values, served)
    return {"prompt": request.conversation.prompt_text(prompts, request.options.grammar)}


def _described(summary: str, name: str, request: dict[str, Any], answer: dict[str, Any]) -> Description:
    from handler.api.schemas import Description

    schemas = {f"{name}Request": request, f"{name}Answer": answer}
    return Description(summary, f"{name}Request", f"{name}Answer", schemas)


def _describe_tokenize() -> Description:
    from handler.api import schemas
    from handler.api.schemas import COUNT, INTEGER, STRING, array, nullable, object_of, reference

    request = object_of(
        [],
        content=nullable("string", description="A text, without a BOS by default."),
        prompt=nullable("string", description="A text, with a BOS by default."),
        messages=nullable("array", items=reference("Message"), minItems=1),
        add_special=nullable("boolean"),
        parse_special=nullable("boolean", description="Whether texts of special tokens are those; true by default."),
        with_pieces=nullable("boolean"),
        return_token_strs=nullable("boolean"),
        **schemas.RENDERING,
    )
    piece = object_of(["id", "piece"], id=INTEGER, piece={"anyOf": [STRING, array(COUNT)]})
    answer = object_of(
        ["tokens", "count", "max_model_len"],
        tokens={"anyOf": [array(INTEGER), array(piece)]},
        count=COUNT,
        max_model_len=COUNT,
        token_strs=array(STRING),
    )
    return _described("Encode a text or a conversation", "Tokenize", request, answer)


def _describe_detokenize() -> Description:
    from handler.api.schemas import STRING, array, object_of, reference

    request = object_of(["tokens"], tokens=array(reference("TokenId")))
    answer = object_of(["content", "prompt"], content=STRING, prompt=STRING)
    return _described("Decode tokens", "Detokenize", request, answer)


def _describe_apply_template() -> Description:
    from handler.api.schemas import STRING, object_of, reference

    return _described(
        "Write a conversation down",
        "ApplyTemplate",
        {"allOf": [reference("ChatRequest")]},
        object_of(["prompt"], prompt=STRING),
    )


TOKENIZE = Calculation("/tokenize", tokenize, _describe_tokenize)
DETOKENIZE = Calculation("/detokenize", detokenize, _describe_detokenize)
APPLY_TEMPLATE = Calculation("/apply-template", apply_template, _describe_apply_template)
