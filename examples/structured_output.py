"""An object by a schema, from a text: `pip install openai pydantic`.

OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none python examples/structured_output.py
"""

from __future__ import annotations

from openai import OpenAI
from pydantic import BaseModel

LETTER = "Hello, my name is Mara Weston and I live in Tessin. On 14 May I ordered 3 brass lamps, order number KD-4821."


class Order(BaseModel):
    """What the letter is about."""

    name: str
    city: str
    order: str


client = OpenAI()
completion = client.chat.completions.parse(
    model=client.models.list().data[0].id,
    messages=[{"role": "user", "content": f"Extract name, city and order as JSON.\n{LETTER}"}],
    response_format=Order,
    temperature=0,
    max_tokens=200,
)
order = completion.choices[0].message.parsed
assert order is not None, completion.choices[0].finish_reason  # "length": cut off before the object was complete
print(f"{order.name} of {order.city}: order {order.order}")
