"""instructor: an object through a tool and by a schema."""

from __future__ import annotations

import os

import instructor
from openai import OpenAI
from pydantic import BaseModel, Field


class Person(BaseModel):
    """Somebody in a text."""

    name: str = Field(min_length=1)
    age: int = Field(ge=0, le=150)


plain = OpenAI(base_url=f"{os.environ['BASE_URL']}/v1", api_key=os.environ["API_KEY"], max_retries=0)
for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
    client = instructor.from_openai(plain, mode=mode)
    person = client.chat.completions.create(
        model=os.environ["MODEL"],
        response_model=Person,
        messages=[{"role": "user", "content": "Extract the name and the age.\nAnna is 31 years old."}],
        max_retries=1,
        temperature=0,
    )
    assert isinstance(person, Person), mode
