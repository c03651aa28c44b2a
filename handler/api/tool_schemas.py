"""JSON Schemas of a chat's messages, tools and calls; start-up doesn't need them."""

from __future__ import annotations

from handler.api.schemas import STRING, Schema, array, nullable, object_of

_NAME: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"}
_FUNCTION = object_of(
    ["name"],
    name=_NAME,
    description=nullable("string"),
    parameters=nullable("object", description="A JSON Schema of an object."),
    strict=nullable("boolean", description="A schema that can't be enforced is refused."),
)
_NAMED = object_of(["name"], name=STRING)
_CHOSEN = object_of(["type", "function"], type={"const": "function"}, function=_NAMED)
_ALLOWED = object_of(
    ["type", "allowed_tools"],
    type={"const": "allowed_tools"},
    allowed_tools=object_of(["tools"], mode={"enum": ["auto", "required", None]}, tools=array(_CHOSEN, minItems=1)),
)
_TEXT_PART = object_of(["type", "text"], type={"const": "text"}, text=STRING)
_REFUSAL_PART = object_of(["type", "refusal"], type={"const": "refusal"}, refusal=STRING)
_CONTENT: Schema = {"oneOf": [STRING, array(_TEXT_PART, minItems=1)]}
_GIVEN = object_of(["name"], name=STRING, arguments={"description": "A JSON object, in a string; left out for none."})
_GIVEN_CALL = object_of(["id", "function"], id=STRING, type={"enum": ["function", None]}, function=_GIVEN)
_CALL = object_of(["name", "arguments"], name=STRING, arguments=STRING)

MESSAGE: Schema = {
    "oneOf": [
        object_of(["role", "content"], role={"enum": ["system", "developer", "user"]}, content=_CONTENT),
        object_of(
            ["role"],
            role={"const": "assistant"},
            content={"oneOf": [STRING, array({"oneOf": [_TEXT_PART, _REFUSAL_PART]}, minItems=1), {"type": "null"}]},
            refusal=nullable("string"),
            tool_calls=nullable("array", items=_GIVEN_CALL),
            function_call=nullable("object", required=_GIVEN["required"], properties=_GIVEN["properties"]),
            reasoning_content=nullable("string"),
        ),
        object_of(["role", "content", "tool_call_id"], role={"const": "tool"}, content=_CONTENT, tool_call_id=STRING),
        object_of(["role", "content", "name"], role={"const": "function"}, content=_CONTENT, name=STRING),
    ]
}
REQUEST: dict[str, Schema] = {
    "tools": nullable(
        "array",
        items=object_of(["type", "function"], type={"const": "function"}, function=_FUNCTION),
        maxItems=128,
    ),
    "tool_choice": {"oneOf": [{"enum": ["none", "auto", "required", None]}, _CHOSEN, _ALLOWED]},
    "parallel_tool_calls": nullable("boolean", description="false: one call at most."),
    "functions": nullable("array", items=_FUNCTION, maxItems=128, description="The older form of tools."),
    "function_call": {"oneOf": [{"enum": ["none", "auto", None]}, _NAMED]},
}
SAID = object_of(
    ["role", "content"],
    role={"const": "assistant"},
    content={**nullable("string"), "description": "null where there are only calls."},
    refusal={"type": "null"},
    reasoning_content={"type": "string", "description": "What the model thought, if it has a form for that."},
    tool_calls=array(object_of(["id", "type", "function"], id=STRING, type={"const": "function"}, function=_CALL)),
    function_call=_CALL,
)
ENDINGS = ("stop", "length", "tool_calls", "function_call")
