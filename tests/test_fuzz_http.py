"""Requests by the server's own description, right ones and wrong ones; the server answers all and lives."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import positive_data_acceptance

from tests.server import Server

Case = schemathesis.Case[Any]

# What a schema can't say: these depend on another member, on the vocabulary, or on the prompt's length in tokens.
DEPENDENT = {
    *("top_logprobs", "stream_options", "logit_bias", "prompt", "messages", "chat_template_kwargs"),
    *("input", "dimensions", "include", "metadata", "reasoning", "text", "output_config", "stop_sequences"),
    *("tools", "tool_choice", "functions", "function_call", "continue_final_message", "min_tokens"),
    *("best_of", "max_tokens", "content"),
    "n",  # of one API, refused by name in the others; of all their names the one that is found by chance
    # Nor whether a text is a grammar, and one that can be followed.
    *("response_format", "guided_json", "guided_regex", "guided_choice", "guided_grammar"),
    *("structured_outputs", "json_schema", "grammar"),
}
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES") or 0)  # Given, that many requests of chance; else the same 100.
PATHS = [
    *("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/responses/input_tokens"),
    *("/v1/messages", "/v1/messages/count_tokens", "/v1/embeddings"),
    *("/tokenize", "/detokenize", "/apply-template"),
]


@pytest.fixture(scope="module")
def server(demo_artefact: Path) -> Iterator[Server]:
    server = Server(demo_artefact, FIREBRICK_MAX_TOKENS="4", FIREBRICK_MAX_TOKENS_CAP="8")
    yield server
    assert httpx.get(f"{server.url}/health").status_code == 200
    assert server.end() == (0, "")
    assert [line for line in server.lines if line["event"] == "failure"] == []


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("path", PATHS)
def test_every_request_is_answered_as_described(server: Server, path: str, mode: GenerationMode) -> None:
    description = schemathesis.openapi.from_url(f"{server.url}/openapi.json")

    @settings(
        max_examples=EXAMPLES or 100,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(description[path]["POST"].as_strategy(generation_mode=mode))
    def check(case: Case) -> None:
        response = case.call()
        case.validate_response(response, excluded_checks=[positive_data_acceptance])
        if mode.is_positive and response.status_code == 400:
            error = response.json()["error"]
            named = error.get("param") or error["message"]  # Anthropic's errors only tell.
            assert {name for name in DEPENDENT if re.search(rf"\b{name}\b", named)}, error

    check()
