"""The description of the HTTP interface that /openapi.json gives and the fuzz test sends requests by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from handler.api.endpoint import Calculation, Endpoint
from handler.api.options import ANY_NAME, Served
from handler.api.schemas import (
    INTEGER,
    SHARED,
    STRING,
    TEXT,
    Description,
    Schema,
    array,
    nullable,
    object_of,
    reference,
)


def _json(schema: Schema, description: str) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_CARD = object_of(
    ["id", "object", "created", "owned_by"],
    id=STRING,
    object={"const": "model"},
    created=INTEGER,
    owned_by=STRING,
    root=STRING,
    context_length=INTEGER,
)
_ERROR = object_of(
    ["error"],
    error=object_of(
        ["message", "type", "param", "code"],
        message=STRING,
        type=STRING,
        param=nullable("string"),
        code=nullable("string"),
    ),
)

_SCHEMAS: dict[str, Schema] = {
    **SHARED,
    "Model": _CARD,
    "Models": object_of(["object", "data"], object={"const": "list"}, data=array(reference("Model"))),
    "Health": object_of(["status"], status={"const": "ok"}),
    "Openapi": {"type": "object"},
    "Error": _ERROR,
}

_ERRORS = {
    "400": "The request is malformed, invalid, or asks for what isn't supported.",
    "401": "The API key is missing or wrong.",
    "404": "No such model.",
    "408": "The body doesn't come.",
    "413": "The body is too large.",
    "415": "The body is compressed in a way that isn't read.",
    "429": "The queue is full; see Retry-After.",
    "431": "The request's line and headers are too large.",
    "500": "The server failed.",
    "503": "The server is shutting down.",
    "504": "No token was ready before the function's deadline.",
    "505": "The request is of another version of HTTP.",
}
_ANY_PATHS = ("431", "505")


def _responses(schema: str, description: str, *errors: str, stream: bool = False, error: str = "Error") -> Schema:
    answer = _json(reference(schema), description)
    if stream:
        answer["content"]["text/event-stream"] = {"schema": object_of(["data"], data=STRING)}
    return {"200": answer} | {status: _json(reference(error), _ERRORS[status]) for status in (*errors, *_ANY_PATHS)}


def _get(summary: str, schema: str, *errors: str, **others: Any) -> Schema:
    return {"get": {"summary": summary, "responses": _responses(schema, summary, *errors), **others}}


def _generation(part: Description) -> Schema:
    errors = ["400", "401", "404", "408", "413", "415", "429", "500", "503", "504"]
    description = "The whole answer, or server-sent events with its chunks."
    return _post(part, _responses(part.answer, description, *errors, stream=True, error=part.error))


def _calculation(part: Description) -> Schema:
    errors = ["400", "401", "404", "408", "413", "415", "500"]
    return _post(part, _responses(part.answer, "The answer.", *errors, error=part.error))


def _post(part: Description, responses: Schema) -> Schema:
    body = {"required": True, "content": {"application/json": {"schema": reference(part.request)}}}
    return {"post": {"summary": part.summary, "requestBody": body, "responses": responses}}


_MODEL_PARAMETER = {"name": "model", "in": "path", "required": True, "schema": TEXT}

_DESCRIPTION: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {
        "title": "Firebrick",
        "version": "1",
        "description": "OpenAI's chat completions, completions, responses and embeddings, and Anthropic's messages,"
        " answered by one model on CPU. Members that are not listed are ignored; every answer has the header"
        " x-request-id.",
    },
    "paths": {
        "/health": _get("200 when a token can be made", "Health", "503", security=[{}]),
        "/openapi.json": _get("This description, in OpenAPI 3.1", "Openapi", "401"),
        "/v1/models": _get("The model that is served", "Models", "401"),
        "/v1/models/{model}": _get("One model", "Model", "401", "404", parameters=[_MODEL_PARAMETER]),
    },
    "security": [{}, {"key": []}],
}


def describe(endpoints: Sequence[Endpoint], calculations: Sequence[Calculation], served: Served) -> Schema:
    """Return the OpenAPI description of a server.

    Args:
        endpoints: What it answers.
        calculations: What it answers without its engine.
        served: The model's names and its vocabulary.
    """
    generated = {endpoint.path: endpoint.describe() for endpoint in endpoints}
    calculated = {calculation.path: calculation.describe() for calculation in calculations}
    paths = {path: _generation(part) for path, part in generated.items()}
    paths |= {path: _calculation(part) for path, part in calculated.items()}
    parts = [*generated.values(), *calculated.values()]
    names = {} if ANY_NAME in served.aliases else {"enum": [*served.names, None]}
    schemas = {
        **_SCHEMAS,
        **{name: schema for part in parts for name, schema in part.schemas.items()},
        "ModelId": SHARED["ModelId"] | names,
        "TokenId": SHARED["TokenId"] | {"exclusiveMaximum": served.vocab_size},
    }
    return {
        **_DESCRIPTION,
        "paths": {**_DESCRIPTION["paths"], **paths},
        "components": {"schemas": schemas, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }
