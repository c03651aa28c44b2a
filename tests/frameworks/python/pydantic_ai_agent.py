"""pydantic-ai: plain text, an object through an output tool and through the native format, a tool of its own."""

from __future__ import annotations

import os

from pydantic import BaseModel
from pydantic_ai import Agent, ModelSettings, NativeOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url=f"{os.environ['BASE_URL']}/v1", api_key=os.environ["API_KEY"])
model = OpenAIChatModel(os.environ["MODEL"], provider=provider)
settings = ModelSettings(temperature=0, max_tokens=200)


class Person(BaseModel):
    name: str
    age: int


text = "Extract the name and the age.\nAnna is 31 years old."
assert Agent(model, model_settings=settings).run_sync("Hello!").output
for kind in (ToolOutput(Person), NativeOutput(Person)):
    assert isinstance(Agent(model, output_type=kind, model_settings=settings).run_sync(text).output, Person), kind

cities: list[str] = []
agent = Agent(model, model_settings=settings)


@agent.tool_plain
def get_weather(city: str) -> str:
    """The weather in a city."""
    cities.append(city)
    return '{"weather": "rain", "temperature": 12}'


assert agent.run_sync("What is the weather in Oslo?").output
assert cities == ["Oslo"], cities
responses = OpenAIResponsesModel(os.environ["MODEL"], provider=provider)
assert Agent(responses, model_settings=settings).run_sync("Hello!").output
