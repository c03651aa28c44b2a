"""A model that may call a tool until it knows the answer: `pip install openai`.

OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none python examples/tools_loop.py
"""

from __future__ import annotations

import json
from typing import Any

from openai import OpenAI

NUMBER = {"type": "integer"}
PARAMETERS = {"type": "object", "properties": {"a": NUMBER, "b": NUMBER}, "required": ["a", "b"]}
ADD = {"name": "add", "description": "Add two numbers.", "parameters": {**PARAMETERS, "additionalProperties": False}}
TOOLS: Any = [{"type": "function", "function": ADD}]


def call(name: str, arguments: str) -> str:
    """Do what the model asked for; what goes wrong is told to the model, too."""
    try:
        return str({"add": lambda a, b: a + b}[name](**json.loads(arguments)))
    except (KeyError, TypeError, ValueError) as error:
        return f"error: {error!r}"


client = OpenAI()
model = client.models.list().data[0].id
messages: list[Any] = [{"role": "user", "content": "What is 31 + 11?"}]
for _ in range(4):
    message = (
        client.chat.completions.create(model=model, messages=messages, tools=TOOLS, max_tokens=200).choices[0].message
    )
    messages.append(message)
    if not message.tool_calls:
        break
    for asked in message.tool_calls:
        if asked.type == "function":
            result = call(asked.function.name, asked.function.arguments)
            print(f"{asked.function.name}({asked.function.arguments}) = {result}")
            messages.append({"role": "tool", "tool_call_id": asked.id, "content": result})
print(messages[-1].content)
