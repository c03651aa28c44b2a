"""JSON Schemas that the descriptions of several endpoints share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]


@dataclass(frozen=True)
class Description:
    """An endpoint's part of the OpenAPI description.

    Attributes:
        summary: One line.
        request: The name of the body's schema.
        answer: The name of the whole answer's schema.
        schemas: The endpoint's own, by name.
        error: The name of the schema of what is refused.
    """

    summary: str
    request: str
    answer: str
    schemas: Mapping[str, Schema]
    error: str = "Error"


def object_of(required: list[str], **properties: Schema) -> Schema:
    """Describe an object."""
    return {"type": "object", "required": required, "properties": properties}


def nullable(kind: str, **others: Any) -> Schema:
    """Describe a value of a type, or null."""
    return {"type": [kind, "null"], **others}


def array(items: Schema, **others: Any) -> Schema:
    """Describe an array."""
    return {"type": "array", "items": items, **others}


def reference(name: str) -> Schema:
    """Refer to a schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TEXT: Schema = {"type": "string", "minLength": 1}
_MILLISECONDS = nullable("number", minimum=0)

_STOP = {"oneOf": [TEXT, {"type": "null"}, array(TEXT, maxItems=4)]}
_SCHEMA: Schema = {"type": ["object", "boolean", "string", "null"], "description": "A JSON Schema, or its JSON."}
_FORMAT = nullable(
    "object",
    required=["type"],
    properties={
        "type": {"enum": ["text", "json_object", "json_schema"]},
        "json_schema": {"description": "With type json_schema: an object whose schema is a JSON Schema."},
    },
)
_CHOICES = nullable("array", items={"type": "string"}, minItems=1)
_STREAM_OPTIONS = nullable(
    "object", properties={"include_usage": nullable("boolean")}, description="With stream = true only."
)

# What handler.api.options understands.
OPTIONS: dict[str, Schema] = {
    "model": reference("ModelId"),
    "max_tokens": nullable("integer", minimum=1, description="What goes beyond the context is cut off."),
    "temperature": nullable("number", minimum=0, maximum=2),
    "top_p": nullable("number", exclusiveMinimum=0, maximum=1),
    "top_k": nullable("integer", minimum=-1, description="An extension; 0 and -1 keep all tokens."),
    "min_p": nullable("number", minimum=0, maximum=1, description="An extension."),
    "repetition_penalty": nullable("number", minimum=0.01, maximum=10, description="An extension."),
    "presence_penalty": nullable("number", minimum=-2, maximum=2),
    "frequency_penalty": nullable("number", minimum=-2, maximum=2),
    "logit_bias": nullable(
        "object",
        description="Token ids and what is added to their logits.",
        propertyNames={"pattern": "^[0-9]{1,11}$"},
        additionalProperties=nullable("number", minimum=-100, maximum=100),
    ),
    "seed": nullable("integer", minimum=-(2**63), maximum=2**63 - 1),
    "stop": _STOP,
    "stream": nullable("boolean"),
    "stream_options": _STREAM_OPTIONS,
    "n": nullable("integer", minimum=1, maximum=16, description="Choices of one prompt."),
    "stop_token_ids": nullable("array", items=reference("TokenId"), maxItems=64, description="An extension."),
    "ignore_eos": nullable("boolean", description="An extension: the model's own end of a text is no end."),
    "min_tokens": nullable("integer", minimum=0, description="An extension: the answer doesn't end before."),
    "include_stop_str_in_output": nullable("boolean", description="An extension."),
    "skip_special_tokens": nullable("boolean", description="An extension; true by default."),
    "response_format": _FORMAT,
    "guided_json": _SCHEMA,
    "guided_regex": nullable("string", description="An extension: what the answer matches."),
    "guided_choice": {**_CHOICES, "description": "An extension: what the answer is one of."},
    "guided_grammar": nullable("string", description="An extension: llguidance's Lark or llama.cpp's GBNF."),
    "structured_outputs": nullable(
        "object", description="An extension: one of json, json_object, regex, choice, grammar."
    ),
    "json_schema": _SCHEMA,
    "grammar": nullable("string", description="An extension: llama.cpp's GBNF."),
}

# Of these, what an endpoint with other names for the length and with one answer understands too.
SHARED_OPTIONS = {name: schema for name, schema in OPTIONS.items() if name not in ("max_tokens", "n")}

# What handler.api.rendering understands.
RENDERING: dict[str, Schema] = {
    "add_generation_prompt": nullable("boolean", description="An extension; true by default."),
    "continue_final_message": nullable("boolean", description="An extension: the assistant's last message goes on."),
    "chat_template_kwargs": nullable("object", description="An extension: more variables for the chat template."),
    "reasoning_effort": nullable("string", description="A variable of the chat template."),
    "enable_thinking": nullable("boolean", description="An extension: a variable of the chat template."),
    "add_special_tokens": nullable("boolean", description="An extension, for a BOS; false by default."),
}

_USAGE = object_of(
    ["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"],
    prompt_tokens=COUNT,
    completion_tokens=COUNT,
    total_tokens=COUNT,
    prompt_tokens_details=object_of(["cached_tokens"], cached_tokens=COUNT),
    completion_tokens_details={
        **object_of(["reasoning_tokens"], reasoning_tokens=COUNT),
        "description": "Where the model has thought.",
    },
)
_TIMINGS = object_of(
    ["prompt_tokens", "cached_tokens", "completion_tokens"],
    queue_ms=_MILLISECONDS,
    prompt_tokens=COUNT,
    cached_tokens={**COUNT, "description": "How many of the prompt's tokens needed no prefill."},
    prefill_ms=_MILLISECONDS,
    first_token_ms=_MILLISECONDS,
    completion_tokens=COUNT,
    decode_ms=_MILLISECONDS,
    decode_tokens_per_second=nullable("number", minimum=0),
    billed_ms=nullable("integer", minimum=0, description="What Lambda bills for it; null outside of Lambda."),
    init_ms={**_MILLISECONDS, "description": "Of these, the init phase; with an environment's first answer only."},
    restore_ms={**_MILLISECONDS, "description": "Of these, what ran after the restore; as init_ms, from a snapshot."},
    estimated_cost_usd=nullable("number", minimum=0, description="By list prices; null where they aren't known."),
    stopped_by={"const": "deadline", "description": "Only if the function's deadline cut the answer off."},
)
SHARED: dict[str, Schema] = {
    "ModelId": {
        "type": ["string", "null"],
        "description": "An id of /v1/models, or the last part of it.",
    },
    "TokenId": COUNT,
    "Usage": _USAGE,
    "Timings": _TIMINGS,
}


def answer(object: str, endings: Sequence[str] = ("stop", "length"), **said: Schema) -> Schema:
    """Describe an answer of OpenAI's.

    Args:
        object: What it calls itself.
        endings: The reasons for its end that there are.
        said: The choice's members beside index, logprobs and finish_reason.
    """
    choice = object_of(
        ["index", *said, "logprobs", "finish_reason"],
        index=COUNT,
        **said,
        logprobs=nullable("object"),
        finish_reason={"enum": list(endings)},
    )
    return object_of(
        ["id", "object", "created", "model", "choices", "usage", "timings"],
        object={"const": object},
        choices=array(choice),
        id=STRING,
        created=INTEGER,
        model=STRING,
        system_fingerprint=nullable("string"),
        usage=reference("Usage"),
        timings=reference("Timings"),
    )
