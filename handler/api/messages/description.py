"""The part of the OpenAPI description that Anthropic's messages have."""

from __future__ import annotations

from handler.api import schemas
from handler.api.messages.request import MAX_STOPS, THINKING
from handler.api.schemas import Description, Schema, array, nullable, object_of, reference

_TEXT = object_of(["type", "text"], type={"const": "text"}, text=schemas.STRING)
_TEXTS: Schema = {"oneOf": [schemas.STRING, array(_TEXT)]}
_MAYBE_TEXTS: Schema = {"oneOf": [{"type": "null"}, *_TEXTS["oneOf"]]}
_RESULT = object_of(
    ["type", "tool_use_id"],
    type={"const": "tool_result"},
    tool_use_id={"type": "string", "description": "Of a tool_use before it."},
    content=_MAYBE_TEXTS,
    is_error=nullable("boolean"),
)
_USE = object_of(
    ["type", "id", "name", "input"],
    type={"const": "tool_use"},
    id=schemas.STRING,
    name=schemas.STRING,
    input={"type": "object"},
)
_THOUGHTS = object_of(["type", "thinking"], type={"const": "thinking"}, thinking=schemas.STRING)
_HIDDEN = object_of(["type"], type={"const": "redacted_thinking"})


def _said_by(role: str, *blocks: Schema) -> Schema:
    content = {"oneOf": [schemas.STRING, array({"anyOf": list(blocks)})]}
    return object_of(["role", "content"], role={"const": role}, content=content)


_MESSAGE: Schema = {
    "oneOf": [
        _said_by("user", _TEXT, _RESULT),
        _said_by("assistant", _TEXT, _USE, _THOUGHTS, _HIDDEN),
        object_of(["role", "content"], role={"const": "system"}, content=_TEXTS),
    ]
}
_TOOL = object_of(
    ["name", "input_schema"],
    type={"enum": ["custom", None]},
    name={"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,128}$"},
    description=nullable("string"),
    input_schema={"type": "object", "description": "A JSON Schema."},
    strict=nullable("boolean"),
)
_TOOL_CHOICE = nullable(
    "object",
    required=["type"],
    properties={
        "type": {"enum": ["auto", "any", "tool", "none"]},
        "name": nullable("string", description="Of the tool, with type tool."),
        "disable_parallel_tool_use": nullable("boolean"),
    },
)
_OUTPUT = object_of(
    ["type", "schema"], type={"const": "json_schema"}, schema={"type": "object", "description": "A JSON Schema."}
)
_PROMPT: dict[str, Schema] = {
    "model": reference("ModelId"),
    "messages": array(reference("AnthropicMessage"), minItems=1),
    "system": _MAYBE_TEXTS,
    "tools": nullable("array", items=_TOOL),
    "tool_choice": _TOOL_CHOICE,
    "thinking": nullable("object", required=["type"], properties={"type": {"enum": list(THINKING)}}),
}
_REQUEST = object_of(
    ["max_tokens", "messages"],
    **{
        **schemas.SHARED_OPTIONS,
        **_PROMPT,
        "max_tokens": {"type": "integer", "minimum": 1},
        "temperature": nullable("number", minimum=0, maximum=1),
        "stop_sequences": nullable("array", items=schemas.TEXT, maxItems=MAX_STOPS),
        "output_config": nullable("object", properties={"format": {"oneOf": [{"type": "null"}, _OUTPUT]}}),
    },
)
_BLOCK = object_of(["type"], type={"enum": ["text", "tool_use", "thinking"]})
_ANSWER = object_of(
    ["id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"],
    id=schemas.STRING,
    type={"const": "message"},
    role={"const": "assistant"},
    model=schemas.STRING,
    content=array(_BLOCK),
    stop_reason={"enum": ["end_turn", "max_tokens", "stop_sequence", "tool_use"]},
    stop_sequence=nullable("string"),
    usage=object_of(
        ["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"],
        input_tokens=schemas.COUNT,
        output_tokens=schemas.COUNT,
        cache_read_input_tokens=schemas.COUNT,
        cache_creation_input_tokens=schemas.COUNT,
    ),
    timings=reference("Timings"),
)
_COUNT = object_of(["input_tokens"], input_tokens=schemas.COUNT)
_ERROR = object_of(
    ["type", "error", "request_id"],
    type={"const": "error"},
    error=object_of(["type", "message"], type=schemas.STRING, message=schemas.STRING),
    request_id=nullable("string"),
)
_SHARED: dict[str, Schema] = {"AnthropicMessage": _MESSAGE, "AnthropicError": _ERROR}


def describe() -> Description:
    """Describe what makes messages."""
    own = {"MessageRequest": _REQUEST, "MessageAnswer": _ANSWER, **_SHARED}
    summary = "Answer a conversation, in Anthropic's form"
    return Description(summary, "MessageRequest", "MessageAnswer", own, "AnthropicError")


def describe_count() -> Description:
    """Describe what counts the tokens of messages."""
    own = {"MessageCountRequest": object_of(["messages"], **_PROMPT), "MessageCount": _COUNT, **_SHARED}
    return Description("Count the tokens of messages", "MessageCountRequest", "MessageCount", own, "AnthropicError")
