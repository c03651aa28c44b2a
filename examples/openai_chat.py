"""A chat, streamed by OpenAI's client, and what its answer took: `pip install openai`.

OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none python examples/openai_chat.py "What is a cold start?"
"""

from __future__ import annotations

import sys

from openai import OpenAI

client = OpenAI()  # reads both variables
model = client.models.list().data[0].id
question = " ".join(sys.argv[1:]) or "What is a cold start?"

stream = client.chat.completions.create(
    model=model,
    messages=[{"role": "user", "content": question}],
    max_tokens=200,
    stream=True,
    stream_options={"include_usage": True},
)
for chunk in stream:
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
    if chunk.usage:
        print(f"\n{chunk.usage.prompt_tokens} tokens read, {chunk.usage.completion_tokens} written")
