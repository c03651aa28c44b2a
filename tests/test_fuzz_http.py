"""Requests by the server's own description, right ones and wrong ones; the server answers all and lives."""

from __future__ import annotations

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
DEPENDENT = {"top_logprobs", "stream_options", "logit_bias", "prompt", "messages", "chat_template_kwargs"}
# Nor whether a text is a grammar, and one that can be followed.
DEPENDENT |= {"response_format", "guided_json", "guided_regex", "guided_choice", "guided_grammar"}
DEPENDENT |= {"structured_outputs", "json_schema", "grammar"}


@pytest.fixture(scope="module")
def server(demo_artefact: Path) -> Iterator[Server]:
    server = Server(demo_artefact, FIREBRICK_MAX_TOKENS="4")
    yield server
    assert httpx.get(f"{server.url}/health").status_code == 200
    assert server.end() == (0, "")
    assert [line for line in server.lines if line["event"] == "failure"] == []


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_every_request_is_answered_as_described(server: Server, path: str, mode: GenerationMode) -> None:
    description = schemathesis.openapi.from_url(f"{server.url}/openapi.json")

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(description[path]["POST"].as_strategy(generation_mode=mode))
    def check(case: Case) -> None:
        response = case.call()
        case.validate_response(response, excluded_checks=[positive_data_acceptance])
        if mode.is_positive and response.status_code == 400:
            assert response.json()["error"]["param"].split(".")[0].split("[")[0] in DEPENDENT

    check()
