"""litellm: chat, stream, tools, an object by a pydantic model, embeddings; by OpenAI's API and by Anthropic's."""

from __future__ import annotations

import json
import os

import litellm
from pydantic import BaseModel

litellm.telemetry = False
URL, KEY, NAME = os.environ["BASE_URL"], os.environ["API_KEY"], os.environ["MODEL"]
common = {"model": f"openai/{NAME}", "api_base": f"{URL}/v1", "api_key": KEY, "num_retries": 0}


class Person(BaseModel):
    name: str
    age: int


question = [{"role": "user", "content": "Extract the name and the age.\nAnna is 31 years old."}]
assert litellm.completion(messages=question, max_tokens=16, **common).choices[0].message.content
stream = litellm.completion(messages=question, max_tokens=16, stream=True, **common)
assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)

found = litellm.completion(messages=question, response_format=Person, **common)
Person.model_validate_json(found.choices[0].message.content)

tools = [{"type": "function", "function": {"name": "note", "parameters": Person.model_json_schema()}}]
asked = litellm.completion(messages=question, tools=tools, tool_choice="required", **common)
Person.model_validate(json.loads(asked.choices[0].message.tool_calls[0].function.arguments))

assert len(litellm.embedding(input=["a", "b"], **common).data) == 2

claude = litellm.completion(
    model=f"anthropic/{NAME}", api_base=URL, api_key=KEY, messages=question, max_tokens=16, num_retries=0
)
assert claude.choices[0].message.content
