"""Bodies, and what becomes of them."""

from __future__ import annotations

from typing import Any

import pytest

from handler.api.chat import ChatRequest, parse_chat
from handler.api.completions import CompletionRequest, parse_completion
from handler.api.options import Served
from handler.artefact import SamplingDefaults
from handler.errors import ApiError

SERVED = Served("owner/name", 100, SamplingDefaults(temperature=0.7, top_p=0.9))
MESSAGES = [{"role": "user", "content": "hi"}]


def chat(served: Served = SERVED, **members: Any) -> ChatRequest:
    return parse_chat({"model": "name", "messages": MESSAGES} | members, served)


def completion(served: Served = SERVED, **members: Any) -> CompletionRequest:
    return parse_completion({"model": "name", "prompt": "hi"} | members, served)


def refusal(parse: Any, **members: Any) -> ApiError:
    """What `chat` or `completion` raises."""
    with pytest.raises(ApiError) as caught:
        parse(**members)
    return caught.value
