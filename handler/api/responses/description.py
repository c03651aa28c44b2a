"""The part of the OpenAPI description that responses have."""

from __future__ import annotations

from handler.api import schemas
from handler.api.responses.request import MAX_TOP_LOGPROBS
from handler.api.schemas import Description, Schema, array, nullable, object_of, reference

_TEXT_PART = object_of(["type", "text"], type={"enum": ["input_text", "output_text", "text"]}, text=schemas.STRING)
_CONTENT: Schema = {"oneOf": [schemas.STRING, array(_TEXT_PART)]}
_MESSAGE = object_of(
    ["role", "content"],
    type={"enum": ["message", None]},
    role={"enum": ["user", "assistant", "system", "developer"]},
    content=_CONTENT,
)
_CALL = object_of(
    ["type", "call_id", "name"],
    type={"const": "function_call"},
    call_id=schemas.STRING,
    name=schemas.STRING,
    arguments={"description": "A JSON object, in a string; left out for none."},
)
_OUTPUT = object_of(
    ["type", "call_id", "output"],
    type={"const": "function_call_output"},
    call_id={"type": "string", "description": "Of a function_call before it."},
    output=_CONTENT,
)
_THOUGHTS = object_of(
    ["type"],
    type={"const": "reasoning"},
    content=nullable("array", items=object_of(["type", "text"], type={"const": "reasoning_text"}, text=schemas.STRING)),
    summary=nullable("array", items=object_of(["type", "text"], type={"const": "summary_text"}, text=schemas.STRING)),
)
_TOOL = object_of(
    ["type", "name"],
    type={"const": "function"},
    name={"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"},
    description=nullable("string"),
    parameters=nullable("object", description="A JSON Schema."),
    strict=nullable("boolean"),
)
_SCHEMA_FORMAT = object_of(
    ["type", "name", "schema"],
    type={"const": "json_schema"},
    name=schemas.STRING,
    schema={"type": "object", "description": "A JSON Schema."},
    description=nullable("string"),
    strict=nullable("boolean"),
)
_PLAIN_FORMAT = object_of(["type"], type={"enum": ["text", "json_object"]})
_TEXT = nullable(
    "object",
    properties={
        "format": {"oneOf": [{"type": "null"}, _PLAIN_FORMAT, _SCHEMA_FORMAT]},
        "verbosity": {"enum": ["low", "medium", "high", None]},
    },
)
_METADATA = nullable("object", maxProperties=16, additionalProperties={"type": "string", "maxLength": 512})
_REQUEST = object_of(
    ["input"],
    **schemas.SHARED_OPTIONS,
    input={"oneOf": [schemas.STRING, array(reference("ResponseItem"), minItems=1)]},
    instructions=nullable("string"),
    max_output_tokens=nullable("integer", minimum=1),
    metadata=_METADATA,
    parallel_tool_calls=nullable("boolean"),
    store={"enum": [False, None]},
    text=_TEXT,
    tool_choice={"description": "none, auto, required, or an object that names a function or several."},
    tools=nullable("array", items=_TOOL),
    top_logprobs=nullable("integer", minimum=0, maximum=MAX_TOP_LOGPROBS, description="With include only."),
    include=nullable("array", items=schemas.STRING),
    truncation={"enum": ["disabled", None]},
)
_ANSWER = object_of(
    ["id", "object", "created_at", "status", "error", "incomplete_details", "model", "output", "usage"],
    id=schemas.STRING,
    object={"const": "response"},
    created_at=schemas.INTEGER,
    completed_at=nullable("integer"),
    status={"enum": ["completed", "incomplete"]},
    error={"type": "null"},
    incomplete_details=nullable("object", properties={"reason": {"const": "max_output_tokens"}}),
    model=schemas.STRING,
    output=array(
        object_of(["id", "type"], id=schemas.STRING, type={"enum": ["message", "function_call", "reasoning"]})
    ),
    usage=object_of(
        ["input_tokens", "output_tokens", "total_tokens", "input_tokens_details", "output_tokens_details"],
        input_tokens=schemas.COUNT,
        output_tokens=schemas.COUNT,
        total_tokens=schemas.COUNT,
        input_tokens_details=object_of(["cached_tokens"], cached_tokens=schemas.COUNT),
        output_tokens_details=object_of(["reasoning_tokens"], reasoning_tokens=schemas.COUNT),
    ),
    timings=reference("Timings"),
)
_COUNT = object_of(["object", "input_tokens"], object={"const": "response.input_tokens"}, input_tokens=schemas.COUNT)

_ITEM: Schema = {"anyOf": [_MESSAGE, _CALL, _OUTPUT, _THOUGHTS]}
_SHARED: dict[str, Schema] = {"ResponseItem": _ITEM, "ResponseRequest": _REQUEST}


def describe() -> Description:
    """Describe what makes responses."""
    return Description(
        "Answer a conversation, in items", "ResponseRequest", "Response", {"Response": _ANSWER, **_SHARED}
    )


def describe_count() -> Description:
    """Describe what counts the tokens of a request."""
    own = {"ResponseCount": _COUNT, **_SHARED}
    return Description("Count the tokens of a prompt", "ResponseRequest", "ResponseCount", own)
