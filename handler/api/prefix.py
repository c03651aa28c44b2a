"""A file with the beginning of prompts → the token ids that all prompts which begin so have in common."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

from handler.api.chat import ChatRequest, parse_chat
from handler.api.completions import CompletionRequest, parse_completion
from handler.api.options import Served
from handler.api.prompt import Prompts
from handler.engine.prefixes import LEAST
from handler.engine.slots import common
from handler.errors import ApiError, PromptRefused

# How prompts may go on: a token at the seam is common only if it merges with the first character of none of these.
PROBES = ("a", "Z", "7", " b", "\nc", ".", "(", "é", "中")
Request = ChatRequest | CompletionRequest


@dataclass(frozen=True)
class Beginning:
    """What prompts begin with.

    Attributes:
        path: The file that it was read from.
        ids: Token ids, the same every day.
        daily: How many more there would be if the chat template didn't write the date.
    """

    path: Path
    ids: Sequence[int]
    daily: int


def read_beginning(path: Path, served: Served, prompts: Prompts) -> Beginning:
    """Make ids of a file, as the endpoints do with a request.

    Args:
        path: A `.json` file with messages, or with a request's body, or a `.txt` file with a text for completions.
        served: What the body is held against; its model is the one that is served.
        prompts: What prompts are made with.

    Raises:
        PromptRefused: The file can't be read, is no such request, or gives too few or too many ids.
    """
    try:
        request = _parse(path, served)
        ids = _common_ids(request, prompts)
        always = ids[: common(ids, _common_ids(_another_day(request), prompts))]
    except ApiError as error:
        raise PromptRefused(path, error.message) from None
    if len(always) < LEAST:
        raise PromptRefused(
            path, f"prompts that begin so have {len(always)} tokens in common, not {LEAST}; lengthen it"
        )
    if len(always) >= prompts.context_length:
        raise PromptRefused(
            path,
            f"it has {len(always)} tokens, and the context of {prompts.context_length} must hold what follows too; "
            "shorten it",
        )
    return Beginning(path, always, len(ids) - len(always))


def _parse(path: Path, served: Served) -> Request:
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise PromptRefused(path, reason) from None
    body = _body(path, text) | {"model": served.model_id}
    request = parse_completion(body, served) if "prompt" in body else parse_chat(body, served)
    if isinstance(request, CompletionRequest) and len(request.prompts) > 1:
        raise PromptRefused(path, f"it has {len(request.prompts)} prompts; give each a file")
    return request


def _body(path: Path, text: str) -> dict[str, Any]:
    if path.suffix == ".txt":
        return {"prompt": text}
    if path.suffix != ".json":
        raise PromptRefused(path, "its name ends neither in .json (messages) nor in .txt (a text for completions)")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PromptRefused(path, f"it is no JSON ({error})") from None
    if isinstance(value, list):
        return {"messages": value}
    if isinstance(value, dict):
        return value
    raise PromptRefused(path, "it holds neither an array of messages nor an object with messages or prompt")


def _common_ids(request: Request, prompts: Prompts) -> Sequence[int]:
    every = [list(continued.prompt_ids(prompts)) for continued in _continued(request)]
    return reduce(lambda ids, others: ids[: common(ids, others)], every)


def _continued(request: Request) -> Iterator[Request]:
    if isinstance(request, ChatRequest):
        # Some templates insist on turns.
        role = "assistant" if request.messages[-1]["role"] == "user" else "user"
        for probe in PROBES:
            yield replace(request, messages=(*request.messages, {"role": role, "content": probe}))
    elif isinstance(prompt := request.prompts[0], str):
        for probe in PROBES:
            yield replace(request, prompts=(prompt + probe,))
    else:
        yield request  # ids merge with nothing


def _another_day(request: Request) -> Request:
    """The same request where a template that asks for the date is given another."""
    if not isinstance(request, ChatRequest):
        return request
    variables = {"strftime_now": lambda format: "another day", **request.template_variables}
    return replace(request, template_variables=variables)
