"""What OpenAI's published description says of its answers: `python -m tests.clients.openai_schemas openapi.json`.

It keeps the facts, which are types, names and what is required, of the schemas that answers are made of, and leaves the
words out. The description is https://github.com/openai/openai-openapi (MIT).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STORED = Path(__file__).with_suffix(".json")
ROOTS = (
    *("CreateChatCompletionResponse", "CreateChatCompletionStreamResponse", "CreateCompletionResponse"),
    *("CreateEmbeddingResponse", "ListModelsResponse", "ErrorResponse", "Response", "ResponseStreamEvent"),
)
FACTS = {
    *("$ref", "type", "const", "enum", "anyOf", "oneOf", "allOf", "properties", "required", "additionalProperties"),
    *("items", "minItems", "maxItems", "minLength", "maxLength", "pattern", "minimum", "maximum"),
}


def facts(schema: Any) -> Any:
    """A schema without its words."""
    if isinstance(schema, list):
        return [facts(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: facts(value) for name, value in schema.items() if name in FACTS - {"properties"}}
    if "properties" in schema:
        kept["properties"] = {name: facts(value) for name, value in schema["properties"].items()}
    return {"anyOf": [kept, {"type": "null"}]} if schema.get("nullable") else kept


def references(schema: Any) -> Iterator[str]:
    """The names of the schemas that a schema refers to."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rsplit("/", 1)[1]
        schema = list(schema.values())
    if isinstance(schema, list):
        for item in schema:
            yield from references(item)


def reduced(description: dict[str, Any]) -> dict[str, Any]:
    """The schemas of answers, by name."""
    found: dict[str, Any] = {}
    wanted = list(ROOTS)
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = facts(description["components"]["schemas"][name])
            wanted.extend(references(found[name]))
    return dict(sorted(found.items()))


if __name__ == "__main__":
    schemas = reduced(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    lines = ",\n".join(f'"{name}": {json.dumps(schema, sort_keys=True)}' for name, schema in schemas.items())
    STORED.write_text(f'{{"components": {{"schemas": {{\n{lines}\n}}}}}}\n', encoding="utf-8")
