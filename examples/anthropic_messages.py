"""Anthropic's client, streamed: `pip install anthropic`. Its base URL has no /v1.

ANTHROPIC_BASE_URL=http://127.0.0.1:8080 ANTHROPIC_API_KEY=none python examples/anthropic_messages.py
"""

from __future__ import annotations

import os
import sys

from anthropic import Anthropic

client = Anthropic()  # reads both variables
with client.messages.stream(
    model=os.environ.get("MODEL", "firebrick-demo"),
    max_tokens=200,
    system="Answer in one sentence.",
    messages=[{"role": "user", "content": " ".join(sys.argv[1:]) or "What is Firebrick?"}],
) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
    usage = stream.get_final_message().usage
print(f"\n{usage.input_tokens} tokens read, {usage.output_tokens} written")
