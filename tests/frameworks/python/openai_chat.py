"""openai: several choices, an object by a pydantic model, a loop of tool calls, embeddings, raw completions."""

from __future__ import annotations

import json
import os

from openai import OpenAI
from pydantic import BaseModel

client = OpenAI(base_url=f"{os.environ['BASE_URL']}/v1", api_key=os.environ["API_KEY"], max_retries=0)
model = os.environ["MODEL"]


class Person(BaseModel):
    name: str
    age: int


class Add(BaseModel):
    a: int
    b: int


question = [{"role": "user", "content": "Extract the name and the age.\nAnna is 31 years old."}]
many = client.chat.completions.create(model=model, messages=question, n=3, temperature=1, seed=1, max_tokens=8)
assert [choice.index for choice in many.choices] == [0, 1, 2]

parsed = client.chat.completions.parse(model=model, messages=question, response_format=Person)
assert isinstance(parsed.choices[0].message.parsed, Person)

with client.chat.completions.stream(model=model, messages=question, response_format=Person) as stream:
    kinds = {event.type for event in stream}
    assert {"chunk", "content.delta", "content.done"} <= kinds, kinds
    assert isinstance(stream.get_final_completion().choices[0].message.parsed, Person)

parameters = Add.model_json_schema()
tools = [{"type": "function", "function": {"name": "add", "description": "Add two numbers.", "parameters": parameters}}]
messages = [{"role": "user", "content": "What is 31 + 11? Use the tool."}]
asked = client.chat.completions.create(model=model, messages=messages, tools=tools, tool_choice="required")
assert asked.choices[0].finish_reason == "tool_calls"
calls = asked.choices[0].message.tool_calls
messages.append(asked.choices[0].message.model_dump(exclude_none=True))
for call in calls:
    sum_ = Add.model_validate_json(call.function.arguments)
    messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(sum_.a + sum_.b)})
told = client.chat.completions.create(model=model, messages=messages, tools=tools)
assert told.choices[0].message.content or told.choices[0].message.tool_calls

pieces, name = "", None
for chunk in client.chat.completions.create(
    model=model, messages=messages[:1], tools=tools, tool_choice="required", stream=True
):
    for part in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
        if part.index == 0:
            name = name or part.function.name
            pieces += part.function.arguments or ""
assert (name, Add.model_validate_json(pieces) is not None) == ("add", True)

vectors = client.embeddings.create(model=model, input=["one text", "another"])
assert len(vectors.data) == 2
assert abs(sum(x * x for x in vectors.data[0].embedding) - 1) < 1e-3

scored = client.completions.create(model=model, prompt=["Hello", "What is"], max_tokens=1, logprobs=1, echo=True)
assert [choice.index for choice in scored.choices] == [0, 1]
assert scored.choices[0].logprobs.token_logprobs[0] is None
