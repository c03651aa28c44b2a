"""The description of the HTTP interface that /openapi.json gives and the fuzz test sends requests by."""

from typing import Any

Schema = dict[str, Any]


def _object(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "required": required, "properties": properties}


def _nullable(kind: str, **others: Any) -> Schema:
    return {"type": [kind, "null"], **others}


def _array(items: Schema, **others: Any) -> Schema:
    return {"type": "array", "items": items, **others}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Schema, description: str) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_STRING = {"type": "string"}
_INTEGER = {"type": "integer"}
_COUNT = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string", "minLength": 1}
_MILLISECONDS = _nullable("number", minimum=0)
_ONE = {"type": ["integer", "null"], "enum": [1, None]}
_NOTHING = {"type": ["array", "null"], "maxItems": 0}
_NO_CHOICE = {"enum": ["none", "auto", None]}

_STOP = {"oneOf": [_TEXT, {"type": "null"}, _array(_TEXT, maxItems=4)]}
_STREAM_OPTIONS = {
    "type": ["object", "null"],
    "properties": {"include_usage": _nullable("boolean")},
    "description": "With stream = true only.",
}

_COMMON = {
    "model": _reference("ModelId"),
    "max_tokens": _nullable("integer", minimum=1, description="What goes beyond the context is cut off."),
    "temperature": _nullable("number", minimum=0, maximum=2),
    "top_p": _nullable("number", exclusiveMinimum=0, maximum=1),
    "top_k": _nullable("integer", minimum=-1, description="An extension; 0 and -1 keep all tokens."),
    "min_p": _nullable("number", minimum=0, maximum=1, description="An extension."),
    "repetition_penalty": _nullable("number", minimum=0.01, maximum=10, description="An extension."),
    "presence_penalty": _nullable("number", minimum=-2, maximum=2),
    "frequency_penalty": _nullable("number", minimum=-2, maximum=2),
    "logit_bias": {
        "type": ["object", "null"],
        "description": "Token ids and what is added to their logits.",
        "propertyNames": {"pattern": "^[0-9]{1,11}$"},
        "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100},
    },
    "seed": _nullable("integer", minimum=-(2**63), maximum=2**63 - 1),
    "stop": _STOP,
    "stream": _nullable("boolean"),
    "stream_options": _STREAM_OPTIONS,
    "n": _ONE,
}

_TEXT_PART = _object(["type", "text"], type={"const": "text"}, text=_STRING)
_MESSAGE = _object(
    ["role", "content"],
    role={"enum": ["system", "developer", "user", "assistant"]},
    content={"oneOf": [_STRING, _array(_TEXT_PART, minItems=1)]},
    tool_calls=_NOTHING,
)
_CHAT_REQUEST = _object(
    ["model", "messages"],
    messages=_array(_reference("Message"), minItems=1),
    max_completion_tokens=_nullable("integer", minimum=1),
    logprobs=_nullable("boolean"),
    top_logprobs=_nullable("integer", minimum=0, maximum=20, description="With logprobs = true only."),
    response_format={
        "type": ["object", "null"],
        "required": ["type"],
        "properties": {"type": {"const": "text"}},
    },
    chat_template_kwargs=_nullable("object", description="An extension: more variables for the chat template."),
    tools=_NOTHING,
    functions=_NOTHING,
    tool_choice=_NO_CHOICE,
    function_call=_NO_CHOICE,
    **_COMMON,
)
_TOKEN_IDS = _array(_reference("TokenId"), minItems=1)
_COMPLETION_REQUEST = _object(
    ["model", "prompt"],
    prompt={
        "anyOf": [
            _STRING,
            _array(_STRING, minItems=1, maxItems=1),
            _TOKEN_IDS,
            _array(_TOKEN_IDS, minItems=1, maxItems=1),
        ]
    },
    logprobs=_nullable("integer", minimum=0, maximum=5),
    echo={"enum": [False, None]},
    suffix={"enum": ["", None]},
    best_of=_ONE,
    **_COMMON,
)

_USAGE = _object(
    ["prompt_tokens", "completion_tokens", "total_tokens"],
    prompt_tokens=_COUNT,
    completion_tokens=_COUNT,
    total_tokens=_COUNT,
)
_TIMINGS = _object(
    ["prompt_tokens", "completion_tokens"],
    queue_ms=_MILLISECONDS,
    prompt_tokens=_COUNT,
    prefill_ms=_MILLISECONDS,
    first_token_ms=_MILLISECONDS,
    completion_tokens=_COUNT,
    decode_ms=_MILLISECONDS,
    decode_tokens_per_second=_nullable("number", minimum=0),
    stopped_by={"const": "deadline", "description": "Only if the function's deadline cut the answer off."},
)
_FINISH_REASON = {"enum": ["stop", "length"]}
_ANSWER = {
    "id": _STRING,
    "created": _INTEGER,
    "model": _STRING,
    "system_fingerprint": _nullable("string"),
    "usage": _reference("Usage"),
    "timings": _reference("Timings"),
}
_ANSWER_MEMBERS = ["id", "object", "created", "model", "choices", "usage", "timings"]
_CHAT_CHOICE = _object(
    ["index", "message", "logprobs", "finish_reason"],
    index={"const": 0},
    message=_object(["role", "content"], role={"const": "assistant"}, content=_STRING, refusal={"type": "null"}),
    logprobs=_nullable("object"),
    finish_reason=_FINISH_REASON,
)
_COMPLETION_CHOICE = _object(
    ["index", "text", "logprobs", "finish_reason"],
    index={"const": 0},
    text=_STRING,
    logprobs=_nullable("object"),
    finish_reason=_FINISH_REASON,
)
_CARD = _object(
    ["id", "object", "created", "owned_by"],
    id=_STRING,
    object={"const": "model"},
    created=_INTEGER,
    owned_by=_STRING,
    context_length=_INTEGER,
)
_ERROR = _object(
    ["error"],
    error=_object(
        ["message", "type", "param", "code"],
        message=_STRING,
        type=_STRING,
        param=_nullable("string"),
        code=_nullable("string"),
    ),
)

_SCHEMAS: dict[str, Schema] = {
    "ModelId": {"type": "string", "description": "The id of /v1/models, or the last part of it."},
    "TokenId": _COUNT,
    "Message": _MESSAGE,
    "ChatRequest": _CHAT_REQUEST,
    "CompletionRequest": _COMPLETION_REQUEST,
    "Usage": _USAGE,
    "Timings": _TIMINGS,
    "ChatAnswer": _object(
        _ANSWER_MEMBERS, object={"const": "chat.completion"}, choices=_array(_CHAT_CHOICE), **_ANSWER
    ),
    "CompletionAnswer": _object(
        _ANSWER_MEMBERS, object={"const": "text_completion"}, choices=_array(_COMPLETION_CHOICE), **_ANSWER
    ),
    "Model": _CARD,
    "Models": _object(["object", "data"], object={"const": "list"}, data=_array(_reference("Model"))),
    "Health": _object(["status"], status={"const": "ok"}),
    "Error": _ERROR,
}

_ERRORS = {
    "400": "The request is malformed, invalid, or asks for what isn't supported.",
    "401": "The API key is missing or wrong.",
    "404": "No such model.",
    "408": "The body doesn't come.",
    "413": "The body is too large.",
    "429": "The queue is full; see Retry-After.",
    "500": "The server failed.",
    "503": "The server is shutting down.",
    "504": "No token was ready before the function's deadline.",
}


def _responses(schema: str, description: str, *errors: str, stream: bool = False) -> Schema:
    answer = _json(_reference(schema), description)
    if stream:
        answer["content"]["text/event-stream"] = {"schema": _object(["data"], data=_STRING)}
    return {"200": answer} | {status: _json(_reference("Error"), _ERRORS[status]) for status in errors}


def _get(summary: str, schema: str, *errors: str, **others: Any) -> Schema:
    return {"get": {"summary": summary, "responses": _responses(schema, summary, *errors), **others}}


def _post(summary: str, request: str, answer: str) -> Schema:
    errors = ["400", "401", "404", "408", "413", "429", "500", "503", "504"]
    responses = _responses(answer, "The whole answer, or server-sent events with its chunks.", *errors, stream=True)
    body = {"required": True, "content": {"application/json": {"schema": _reference(request)}}}
    return {"post": {"summary": summary, "requestBody": body, "responses": responses}}


_MODEL_PARAMETER = {"name": "model", "in": "path", "required": True, "schema": _TEXT}

_DESCRIPTION: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {
        "title": "Firebrick",
        "version": "1",
        "description": "OpenAI's chat completions and completions, answered by one model on CPU. Members that"
        " are not listed are ignored; every answer has the header x-request-id.",
    },
    "paths": {
        "/health": _get("200 when a token can be made", "Health", "503", security=[{}]),
        "/openapi.json": {
            "get": {
                "summary": "This description",
                "responses": {"200": _json({"type": "object"}, "OpenAPI 3.1")}
                | {"401": _json(_reference("Error"), _ERRORS["401"])},
            }
        },
        "/v1/models": _get("The model that is served", "Models", "401"),
        "/v1/models/{model}": _get("One model", "Model", "401", "404", parameters=[_MODEL_PARAMETER]),
        "/v1/chat/completions": _post("Answer a conversation", "ChatRequest", "ChatAnswer"),
        "/v1/completions": _post("Continue a text", "CompletionRequest", "CompletionAnswer"),
    },
    "components": {
        "schemas": _SCHEMAS,
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
    },
    "security": [{}, {"key": []}],
}


def describe(model_id: str, vocab_size: int) -> Schema:
    """Return the OpenAPI description of a server.

    Args:
        model_id: The model that it serves.
        vocab_size: The model's.
    """
    names = list(dict.fromkeys([model_id, model_id.rsplit("/", 1)[-1]]))
    schemas = _SCHEMAS | {
        "ModelId": _SCHEMAS["ModelId"] | {"enum": names},
        "TokenId": {"type": "integer", "minimum": 0, "exclusiveMaximum": vocab_size},
    }
    return {**_DESCRIPTION, "components": {**_DESCRIPTION["components"], "schemas": schemas}}
