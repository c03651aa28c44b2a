"""LangChain: a prompt, a model, a parser, streamed: `pip install langchain-openai`.

OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none python examples/langchain_chat.py "a cold start"
"""

from __future__ import annotations

import os
import sys

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

chat = ChatOpenAI(
    base_url=os.environ["OPENAI_BASE_URL"],
    model=os.environ.get("MODEL", "firebrick-demo"),
    temperature=0,
    max_completion_tokens=200,
)
prompt = ChatPromptTemplate.from_messages([("user", "What is {thing}?")])
chain = prompt | chat | StrOutputParser()

for piece in chain.stream({"thing": " ".join(sys.argv[1:]) or "a cold start"}):
    print(piece, end="", flush=True)
print()
