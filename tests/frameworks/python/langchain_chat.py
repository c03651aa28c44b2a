"""LangChain: invoke, stream, bind_tools, with_structured_output by both methods, embeddings."""

from __future__ import annotations

import os

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

common = {"base_url": f"{os.environ['BASE_URL']}/v1", "api_key": os.environ["API_KEY"], "model": os.environ["MODEL"]}
chat = ChatOpenAI(**common, max_retries=0, temperature=0)


class Person(BaseModel):
    """Somebody in a text."""

    name: str
    age: int


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


assert chat.invoke("Hello!").content
assert "".join(str(chunk.content) for chunk in chat.stream("Hello!"))

for method in ("json_schema", "function_calling"):
    person = chat.with_structured_output(Person, method=method).invoke("Anna is 31 years old. Extract name and age.")
    assert isinstance(person, Person), (method, person)
assert isinstance(
    chat.with_structured_output(None, method="json_mode").invoke("Extract name as JSON.\nI am Anna."), dict
)

bound = chat.bind_tools([add], tool_choice="any")
messages = [HumanMessage("What is 31 + 11? Use the tool.")]
asked = bound.invoke(messages)
assert asked.tool_calls[0]["name"] == "add", asked
messages += [asked, *(ToolMessage(str(add.invoke(call["args"])), tool_call_id=call["id"]) for call in asked.tool_calls)]
assert chat.bind_tools([add]).invoke(messages).response_metadata["finish_reason"] in ("stop", "tool_calls", "length")
gathered = None
for chunk in bound.stream(messages[:1]):
    gathered = chunk if gathered is None else gathered + chunk
assert gathered.tool_calls[0]["name"] == "add"

responses = ChatOpenAI(**common, max_retries=0, use_responses_api=True)
assert responses.invoke("Hello!").text

vectors = OpenAIEmbeddings(**common, check_embedding_ctx_length=False).embed_documents(["one text", "another"])
assert len(vectors) == 2
